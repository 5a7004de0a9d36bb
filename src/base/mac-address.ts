/**
 * Lower-case "aa:bb:cc:dd:ee:ff" from that or from "AA-BB-CC-DD-EE-FF". Throws RangeError with what is wrong and what
 * to write. A group address (lowest bit of the first byte) is refused: no frame comes from one.
 */
export const parseMacAddress = (text: string): string => {
  if (!/^[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}$/i.test(text)) {
    throw new RangeError('is not a MAC address; write for example "52:54:00:12:34:56"');
  }
  if (Number.parseInt(text.slice(0, 2), 16) & 1) {
    throw new RangeError("is a group address, from which no frame comes; write the address of one network card");
  }
  return text.toLowerCase().replaceAll("-", ":");
};
