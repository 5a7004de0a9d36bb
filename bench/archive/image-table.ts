import { figure, table, verdict } from "./markdown.ts";
import type { ImageResult } from "./measure-images.ts";

const MIB = 2 ** 20;

type Figures = ImageResult["figures"][string]["median"];

interface ImageRow {
  readonly name: string;
  readonly seconds: (figures: Figures) => number | undefined;
  /** Of voe, where it is done only then. */
  readonly voeSeconds?: (figures: Figures) => number | undefined;
  /** borg's time is to be at least so many times voe's; voe's at most so many times that of cp. */
  readonly borgTimes?: number;
  readonly cpTimes?: number;
}

const rows: readonly ImageRow[] = [
  { name: "in, durable", seconds: ({ inSeconds }) => inSeconds, borgTimes: 1.2 },
  {
    name: "in, everything in packs",
    seconds: ({ inSeconds }) => inSeconds,
    voeSeconds: ({ inPackedSeconds }) => inPackedSeconds,
  },
  { name: "the same again, durable", seconds: ({ againSeconds }) => againSeconds, borgTimes: 1.2 },
  {
    name: "the same again, everything in packs",
    seconds: ({ againSeconds }) => againSeconds,
    voeSeconds: ({ againPackedSeconds }) => againPackedSeconds,
  },
  { name: "out, nothing cached", seconds: ({ outSeconds }) => outSeconds, cpTimes: 1.5 },
];

/** Times and sizes of one kind of image. */
export function imagesTable({ title, about, imageBytes, tools, figures }: ImageResult): string {
  const names = Object.keys(tools);
  const mib = imageBytes / MIB;
  const lines = rows.map(({ name, seconds, voeSeconds, borgTimes, cpTimes }) => {
    const of = (tool: string): number | undefined => {
      const median = figures[tool]?.median;
      return median && (tool === "voe" ? (voeSeconds ?? seconds) : seconds)(median);
    };
    const [voe, borg, cp] = [of("voe")!, of("borg"), of("cp")];
    const cells = names.map((tool) => `${of(tool)!.toFixed(2)} s · ${figure(mib / of(tool)!)}`);
    const faster = borg === undefined ? "" : verdict((borg / voe).toFixed(2), borg / voe >= (borgTimes ?? 0));
    const slower = cp === undefined ? "" : verdict((voe / cp).toFixed(2), voe / cp <= (cpTimes ?? Infinity));
    const target = borgTimes === undefined ? "" : `borg/voe ${borgTimes}`;
    return [name, ...cells, faster, slower, target || (cpTimes === undefined ? "" : `voe/cp at most ${cpTimes}`)];
  });
  const stored = (["storedBytes", "againStoredBytes"] as const).map((key) => [
    key === "storedBytes" ? "stored then" : "stored after the second",
    ...names.map((tool) => {
      const bytes = figures[tool]!.median[key];
      const given = key === "storedBytes" ? imageBytes : 2 * imageBytes;
      return `${(bytes / MIB).toFixed(1)} MiB · ${(given / bytes).toFixed(2)}`;
    }),
    "",
    "",
    "",
  ]);
  const commands = Object.entries(tools).map(([name, description]) => `- ${name}: ${description}`);
  const header = ["work", ...names, "borg/voe", "voe/cp", "target"];
  return `### ${title} (${figure(mib)} MiB)

${about}

${commands.join("\n")}

${table(header, [...lines, ...stored])}`;
}
