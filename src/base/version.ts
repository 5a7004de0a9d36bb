import { version } from "../../package.json";

declare const VOE_COMMIT: string | undefined;

/** Version of this program. */
export const VERSION: string = version;
/** Commit that it was built from; from a checkout it is not known. */
export const COMMIT: string = typeof VOE_COMMIT === "string" ? VOE_COMMIT : "checkout";
