/** One thing wrong with a configuration. */
export interface Problem {
  readonly file: string;
  /** From 1; 0 where it is about the file and not about a line. */
  readonly line: number;
  /** Dotted name such as `target.cas.size`; empty where it is about no key. */
  readonly key: string;
  /** What is wrong; what to do. */
  readonly reason: string;
}

const formatProblem = ({ file, line, key, reason }: Problem): string =>
  `${file}:${line > 0 ? `${line}:` : ""} ${key === "" ? "" : `${key}: `}${reason}`;

/** Everything that is wrong with a configuration; the message has one line for each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join("\n"));
    this.problems = problems;
  }
}
