/** What `voe import` and `voe export` have in common: their arguments, how they are interrupted, what they say at last. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { formatAddress, parseAddress } from "../base/address.ts";
import { formatBytes } from "../base/human.ts";
import { UsageError } from "./usage-error.ts";

/** The name of a target from the command line, as the server has it: `e1.0`. */
export function targetName(text: string): string {
  try {
    return formatAddress(parseAddress(text));
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** Two words and options: `usage` is what is right. */
export function parseImageArguments<T extends NonNullable<ParseArgsConfig["options"]>>(
  rawArgs: readonly string[],
  options: T,
  usage: string,
) {
  const { values, positionals } = parseArgs({ args: [...rawArgs], options, allowPositionals: true, strict: true });
  const [first, second, unexpected] = positionals;
  if (first === undefined || second === undefined) throw new UsageError(`it takes two arguments: ${usage}`);
  if (unexpected !== undefined) throw new UsageError(`unexpected argument "${unexpected}": ${usage}`);
  return { values, first, second };
}

/** Runs a transfer that SIGINT and SIGTERM break off, rather than end the process before it has tidied up. */
export async function interruptible<T>(transfer: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interruption = new AbortController();
  const interrupt = (name: NodeJS.Signals): void => interruption.abort(new Error(`interrupted by ${name}`));
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    return await transfer(interruption.signal);
  } catch (error) {
    throw interruption.signal.aborted ? interruption.signal.reason : error;
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

export interface TransferSummary {
  readonly sizeBytes: number;
  readonly dataBytes: number;
  readonly holeBytes: number;
  readonly seconds: number;
  /** Bytes of data, holes not counted, a second. */
  readonly dataBytesPerSecond: number;
}

export function summaryOf(sizeBytes: number, dataBytes: number, seconds: number): TransferSummary {
  const dataBytesPerSecond = seconds > 0 ? Math.round(dataBytes / seconds) : 0;
  return { sizeBytes, dataBytes, holeBytes: sizeBytes - dataBytes, seconds, dataBytesPerSecond };
}

/** `1 GiB (700 MiB data, 324 MiB holes) in 1.25 s, 560 MiB/s`: the rate is that of the data, as holes take no time. */
export function describeSummary({ sizeBytes, dataBytes, holeBytes, ...summary }: TransferSummary): string {
  const rateMib = summary.dataBytesPerSecond / 2 ** 20;
  const rate = rateMib < 100 ? rateMib.toFixed(1) : String(Math.round(rateMib));
  return (
    `${formatBytes(sizeBytes)} (${formatBytes(dataBytes)} data, ${formatBytes(holeBytes)} holes) ` +
    `in ${summary.seconds.toFixed(2)} s, ${rate} MiB/s`
  );
}
