// @ts-check
// The Attention tab: TensorBoard loads this module into a frame and calls `render`.

import { h } from "./dom.js";
import { Tab } from "./tab.js";

export async function render() {
  document.documentElement.lang = "en";
  document.head.append(h("link", { rel: "stylesheet", href: "style.css" }));
  const tab = new Tab();
  document.body.replaceChildren(tab.element);
  await tab.start();
}
