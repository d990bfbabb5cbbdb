// @ts-check
// The tab as a page of its own: the answers of a server are in the page.

import { Client, url } from "./client.js";
import { h } from "./dom.js";
import { Tab } from "./tab.js";

/** Route, query and body: JSON, or bytes in base64. @typedef {[string, Record<string, string | number>, unknown]} Answer */

/** Python calls it at the end of the page. */
export async function open() {
  /** @type {{note: string, answers: Answer[]}} */
  const saved = JSON.parse(document.querySelector("script[type='application/json']")?.textContent ?? "");
  const bodies = new Map(saved.answers.map(([route, query, body]) => [url(route, query), body]));
  const tab = new Tab(new Client(async (address) => responseOf(bodies.get(address) ?? [])));
  tab.element.querySelector(".page")?.append(h("footer", {}, saved.note));
  document.body.replaceChildren(tab.element);
  await tab.start();
}

/** @param {unknown} body */
function responseOf(body) {
  return new Response(
    typeof body === "string" ? Uint8Array.from(atob(body), (byte) => byte.charCodeAt(0)) : JSON.stringify(body),
  );
}
