import { ERROR_BAD_ARGUMENT, ERROR_DEVICE_UNAVAILABLE, HEADER_BYTES } from "./frame.ts";
import type { AoeLink } from "./link.ts";
import { PENDING_BODY_AT } from "./pending-request.ts";
import { errorReply, fits, KEPT, SILENCE, type Reply } from "./reply.ts";
import type { AoeTarget, TargetState } from "./target.ts";

/**
 * Makes a change of a target's state durable, and only then lets it take effect and its reply go out. The reply is
 * built already; `body` is its body. A change while another is on its way is dropped: initiators ask again.
 */
export function saveState(
  target: AoeTarget,
  link: AoeLink,
  state: TargetState,
  reply: Reply,
  body: Uint8Array,
): number {
  if (!fits(link, reply.headerBytes, body.length)) return errorReply(reply, ERROR_BAD_ARGUMENT);
  if (target.saving) return SILENCE;
  const pending = link.takePending();
  if (pending === undefined) return SILENCE;
  pending.keepReply(target, reply.memory.bytes, reply.headerAt, reply.headerBytes, body);
  target.saving = true;
  target.save(state).then(
    () => {
      target.saving = false;
      target.state = state;
      pending.sendReply();
    },
    () => {
      // `save` has said why in the log.
      target.saving = false;
      const { memory } = pending;
      errorReply(
        { memory, headerAt: 0, bodyAt: PENDING_BODY_AT, headerBytes: 0, bodyBytes: 0, lentAddress: 0 },
        ERROR_DEVICE_UNAVAILABLE,
      );
      pending.headerBytes = HEADER_BYTES;
      pending.bodyBytes = 0;
      pending.sendReply();
    },
  );
  return KEPT;
}
