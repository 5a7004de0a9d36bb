import { expect, test } from "bun:test";
import { interfaceNames, readInterface } from "../../../ffi/interface.ts";
import { ENODEV, SystemError } from "../../../ffi/libc.ts";

test("the loopback interface is listed and described", () => {
  expect(interfaceNames()).toContain("lo");
  const lo = readInterface("lo");
  expect(lo).toMatchObject({ name: "lo", loopback: true, ethernet: true });
  expect(lo.index).toBeGreaterThan(0);
  expect(lo.mac).toEqual(new Uint8Array(6));
  expect(lo.mtuBytes).toBeGreaterThan(1000);
});

test("every listed interface can be described", () => {
  for (const name of interfaceNames()) expect(readInterface(name).name).toBe(name);
});

for (const name of ["nosuch0", "", "lo-and-a-name-that-is-too-long"]) {
  test(`an interface named "${name}" is refused with the names that exist`, () => {
    let thrown: unknown;
    try {
      readInterface(name);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(SystemError);
    expect((thrown as SystemError).errno).toBe(ENODEV);
    expect((thrown as SystemError).message).toContain(`"${name}" (there are: `);
    expect((thrown as SystemError).message).toContain("lo");
  });
}
