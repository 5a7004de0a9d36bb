/** Content for blocks: what does not compress, and what does about as text does. */
import type { SeededRandom } from "./seeded-random.ts";

export function fillRandom(random: SeededRandom, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at++) bytes[at] = random.below(256);
}

const words = "archive block disk journal pack root sector snapshot volume write"
  .split(" ")
  .map((word) => new TextEncoder().encode(`${word} `));

export function fillText(random: SeededRandom, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    const word = words[random.below(words.length)]!;
    bytes.set(word.subarray(0, bytes.length - at), at);
    at += word.length;
  }
}
