// Sentences that stand above the composer until they are closed.

import { button, element } from "./element.js";
import { speak } from "./words.js";

const place = document.querySelector("#notices");

/** Tell something, in the place of what was told of the same kind; with a button for what can be done about it. */
export function tell(kind, values = {}, word = null, act = null) {
  withdraw(kind);
  const said = element("span", { word: null });
  speak(said, kind, values);
  const close = element("button", { type: "button", class: "quiet", name: "close" }, "✕");
  const does = word ? [button(word, () => (withdraw(kind), act()))] : [];
  const made = element("div", { class: "notice", role: "alert", "data-kind": kind }, said, ...does, close);
  close.addEventListener("click", () => made.remove());
  place.append(made);
}

/** Take back what was told of a kind. */
export function withdraw(kind) {
  place.querySelector(`[data-kind="${kind}"]`)?.remove();
}
