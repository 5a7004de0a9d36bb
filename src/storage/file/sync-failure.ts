/** What is said of a medium whose sync failed, which is final. */
export const syncFailure = (path: string, error: Error): string =>
  `${path}: sync failed (${error.message}). The kernel has dropped what it could not write, so nothing more is written ` +
  `here. Check the medium, then start voe again`;
