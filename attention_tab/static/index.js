// @ts-check
// The Attention tab: TensorBoard loads this module into a frame and calls `render`.
// What keeps the rest from loading is said in words: a static import that fails would leave the frame blank.

export async function render() {
  try {
    const [{ h }, { Tab }] = await Promise.all([import("./dom.js"), import("./tab.js")]);
    document.documentElement.lang = "en";
    document.head.append(h("link", { rel: "stylesheet", href: "style.css" }));
    const tab = new Tab();
    document.body.replaceChildren(tab.element);
    await tab.start();
  } catch (error) {
    document.body.textContent = `The Attention tab could not be loaded. Reload the page, or try another browser. ${error}`;
    throw error;
  }
}
