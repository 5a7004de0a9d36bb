import { expect, test } from "bun:test";
import { readJsonLines } from "../../../src/control/json-lines.ts";
import { verifyLocation, verifyRoutes, type VerifyRequest } from "../../../src/control/verify-routes.ts";

const closing = new AbortController().signal;

const ask = (begin: Parameters<typeof verifyRoutes>[0], where: string, method = "POST") => {
  const url = new URL(`http://voe${where}`);
  return verifyRoutes(begin)(new Request(url.href, { method }), url, closing);
};

async function* none(): AsyncGenerator<object, void, undefined> {}

test("a request arrives as it was asked, and other requests are left to others", async () => {
  const asked: VerifyRequest[] = [];
  const begin = (request: VerifyRequest) => {
    asked.push(request);
    return none();
  };
  for (const request of [{}, { target: "e1.0" }, { target: "e1.0", maxDurationMs: 90_000 }, { maxDurationMs: 0 }]) {
    expect((await ask(begin, verifyLocation(request)))!.status).toBe(200);
    expect(asked.pop()).toEqual(request);
  }
  expect(ask(begin, "/verify", "GET")).toBeUndefined();
  expect(ask(begin, "/verifyx")).toBeUndefined();
});

test("an event is sent as soon as there is one", async () => {
  const held = Promise.withResolvers<void>();
  async function* events(): AsyncGenerator<object, void, undefined> {
    yield { event: "progress" };
    await held.promise;
    yield { event: "end" };
  }
  const answer = await ask(() => events(), "/verify");
  const lines = readJsonLines(answer!);
  expect(await lines.next()).toMatchObject({ value: { event: "progress" } });
  held.resolve();
  expect(await lines.next()).toMatchObject({ value: { event: "end" } });
});

test("what cannot be begun is refused with the reason, and a duration that is none too", async () => {
  const refuse = () => {
    throw new Error("there is no target e7.0");
  };
  const refused = await ask(refuse, "/verify?target=e7.0");
  expect(refused!.status).toBe(422);
  expect(await refused!.json()).toEqual({ error: "there is no target e7.0" });
  for (const text of ["-1", "1.5", "soon", ""]) {
    expect((await ask(none, `/verify?max_duration_ms=${text}`))!.status).toBe(400);
  }
});
