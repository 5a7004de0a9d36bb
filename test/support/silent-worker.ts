/** A thread for jobs that takes them and ends with an error at the third, having answered none. */
declare const self: Worker;
let messages = 0;
self.addEventListener("message", () => {
  messages++;
  if (messages === 1) self.postMessage({ kind: "ready" });
  // The first message is not a job.
  if (messages === 4) throw new Error("no more of this");
});
