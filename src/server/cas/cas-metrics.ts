/** What a CAS server counts, in Prometheus' text format. */
import { family, one, type Sample } from "../../base/prometheus-text.ts";

/** What requests are for. */
export type CasOperation = "blob" | "list" | "ref" | "other";

export interface CasCounters {
  /** Answers, by method, what the request was for, and status. */
  readonly answers: Map<string, { readonly labels: Record<string, string>; count: number }>;
  receivedBytes: number;
  sentBytes: number;
  underWay: number;
  /** Bodies that did not have the hash in their name. */
  mismatches: number;
}

export const casCounters = (): CasCounters => ({
  answers: new Map(),
  receivedBytes: 0,
  sentBytes: 0,
  underWay: 0,
  mismatches: 0,
});

const METHODS = new Set(["GET", "HEAD", "PUT", "POST", "DELETE"]);

/** Counts an answer. Methods that nothing is served to are one: a client could make up any number of them. */
export function countAnswer(counters: CasCounters, method: string, operation: CasOperation, status: number): void {
  const labels = { method: METHODS.has(method) ? method : "other", operation, status: String(status) };
  const key = Object.values(labels).join(" ");
  const counted = counters.answers.get(key) ?? { labels, count: 0 };
  counted.count++;
  counters.answers.set(key, counted);
}

/** `freeBytes` is what the filesystem of the store has left. */
export function renderCasMetrics(counters: CasCounters, freeBytes: number): string {
  const answers = [...counters.answers.values()].map(({ labels, count }): Sample => [labels, count]);
  return [
    family("voe_cas_requests_total", "Requests answered, by method, what they were for, and status.", answers),
    family("voe_cas_requests_under_way", "Requests being answered.", one(counters.underWay)),
    family("voe_cas_received_bytes_total", "Bytes of bodies received.", one(counters.receivedBytes)),
    family("voe_cas_sent_bytes_total", "Bytes of blobs sent, or begun to be.", one(counters.sentBytes)),
    family(
      "voe_cas_mismatches_total",
      "Blobs that were refused since their hash was not their name.",
      one(counters.mismatches),
    ),
    family("voe_cas_free_bytes", "Space left on the filesystem of the store.", one(freeBytes)),
  ].join("");
}
