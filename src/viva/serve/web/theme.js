// Light or dark: as the system is, until one is chosen.

import { keep, recall } from "./kept.js";

const KEPT = "viva.theme";

/** Take the theme that was chosen before. */
export function restore() {
  const kept = recall(KEPT);
  if (kept) document.documentElement.dataset.theme = kept;
}

/** Take the other one, and remember it. */
export function toggle() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = (document.documentElement.dataset.theme ?? system) === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  keep(KEPT, next);
}
