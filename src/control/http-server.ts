import { isOwnHost } from "../base/own-host.ts";
import { METRICS_CONTENT_TYPE } from "../base/prometheus-text.ts";
import { renderMetrics } from "./metrics.ts";
import { STATUS_PAGE_HEADERS, statusPage } from "./status-page.ts";
import type { StatusReport } from "./status.ts";

export interface HttpServerOptions {
  /** Name or address to listen on; IPv6 without brackets. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly report: () => StatusReport;
}

export interface HttpServer {
  /** Where a browser finds it, with a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves the status page (`/`), `/metrics` and `/api/status` over TCP, to be read only. Throws when the address
 * cannot be listened on.
 */
export function openHttpServer(options: HttpServerOptions): HttpServer {
  const { host, port } = options;
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      fetch: (request) => answer(request, options),
      error: (error) => refuse(500, error.message),
    });
    // Scrapers and pages keep their connections, which must not keep the server from stopping.
    return { url: String(server.url), close: () => server.stop(true) };
  } catch (error) {
    throw new Error(`cannot serve the status page on ${addressText(host, port)}: ${reasonOf(error)}`, { cause: error });
  }
}

const addressText = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;

function reasonOf(error: unknown): string {
  switch ((error as { code?: string }).code) {
    case "EADDRINUSE":
      return "something else listens there. Stop it, or set http to another port.";
    case "EADDRNOTAVAIL":
      return "this host has no such address. Set http to one of its own.";
    case "EACCES":
      return "this user may not listen on that port. Set http to a port of 1024 or more.";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

const SECURITY_HEADERS = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "cross-origin-resource-policy": "same-origin",
};

const refuse = (status: number, reason: string, headers: Record<string, string> = {}): Response =>
  new Response(`${reason}\n`, { status, headers: { ...SECURITY_HEADERS, ...headers } });

function answer(request: Request, { host, report }: HttpServerOptions): Response {
  const asked = request.headers.get("host");
  if (!isOwnHost(asked, host)) {
    return refuse(403, "this server does not go by that name: use its address, or set http to that name and port");
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return refuse(405, "only GET is served here", { allow: "GET, HEAD" });
  }
  switch (new URL(request.url).pathname) {
    case "/":
      return new Response(statusPage(), { headers: { ...SECURITY_HEADERS, ...STATUS_PAGE_HEADERS } });
    case "/api/status":
      return Response.json(report(), { headers: SECURITY_HEADERS });
    case "/metrics":
      return new Response(renderMetrics(report()), {
        headers: { ...SECURITY_HEADERS, "content-type": METRICS_CONTENT_TYPE },
      });
    default:
      return refuse(404, "there is nothing here: try /, /metrics or /api/status");
  }
}
