// How replies are drawn, and the key: fields of a form, remembered in this browser.

import { keep, recall } from "./kept.js";

const KEPT = "viva.settings";
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
const TOP = 5; // tokens told beside the one drawn
const form = document.querySelector("#fields");
const panel = document.querySelector("#settings");
const opener = document.querySelector("#settings-open");

/** Fill the form with what is remembered, and remember what changes. */
export function restore() {
  const kept = recall(KEPT, {});
  for (const name of [...NUMBERS, "key"]) form.elements[name].value = kept[name] ?? "";
  form.elements.logprobs.checked = kept.logprobs ?? true;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => keep(KEPT, values()));
}

/** The key, or nothing. */
export function key() {
  return form.elements.key.value.trim();
}

/** Show the form, or put it away. */
export function show(shown = panel.hidden) {
  panel.hidden = !shown;
  opener.setAttribute("aria-expanded", shown);
}

/** Whether every field is within its bounds; one that is not is shown, and what is wrong with it. */
export function areValid() {
  const valid = form.checkValidity();
  if (!valid) {
    show(true);
    form.reportValidity();
  }
  return valid;
}

/** As fields of a request; what is empty is left to the server. */
export function sampling() {
  const filled = NUMBERS.filter((name) => form.elements[name].value !== "");
  const drawn = Object.fromEntries(filled.map((name) => [name, form.elements[name].valueAsNumber]));
  return form.elements.logprobs.checked ? { ...drawn, logprobs: true, top_logprobs: TOP } : drawn;
}

/** What is remembered: numbers as they were written. */
function values() {
  const texts = Object.fromEntries([...NUMBERS, "key"].map((name) => [name, form.elements[name].value]));
  return { ...texts, logprobs: form.elements.logprobs.checked };
}
