// A reply as it is written: from the events of the server to a message.

import { chat, Trouble } from "./api.js";
import { Speed } from "./speed.js";
import { told } from "./tokens.js";

/** Ask, and let the message grow; `grown` is called after each event. Whatever happens, `message.finish` tells how it
 * ended: stop, length, stopped by the user, or the kind of a trouble, with `detail` and `retryAfter`. */
export async function write(message, request, key, signal, grown) {
  const speed = new Speed();
  let usage;
  try {
    for await (const event of chat(request, key, signal)) {
      usage = event.usage ?? usage;
      for (const choice of event.choices) take(message, choice, speed);
      message.speed = speed.told(usage?.completion_tokens);
      grown();
    }
  } catch (error) {
    if (error.name === "AbortError") message.finish = "stopped";
    else if (!(error instanceof Trouble)) throw error;
    else Object.assign(message, { finish: error.kind, detail: error.detail, retryAfter: error.retryAfter });
  }
}

function take(message, { delta, logprobs, finish_reason: finish }, speed) {
  const tokens = told(logprobs);
  message._tokens.push(...tokens);
  message.content += delta.content ?? "";
  if (delta.content || tokens.length) speed.count(tokens.length || 1);
  message.finish = finish ?? message.finish;
}
