// Elements, made of text that is never read as HTML: names in an archive are anybody's.

export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const number = new Intl.NumberFormat("en");

export function plural(count, one, several = `${one}s`) {
  return `${number.format(count)} ${count === 1 ? one : several}`;
}

export function debounced(milliseconds, action) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), milliseconds);
  };
}

export function failure(error) {
  const title = error.status ? `The archive answers ${error.status}` : "This did not work";
  return h("div", { class: "panel error", role: "alert" }, h("strong", {}, title), h("p", {}, error.message));
}

// A text with a button that copies it.
export function copyable(text, label) {
  const code = h("code", { tabindex: "0" }, text);
  const button = h("button", { type: "button", class: "copy", "aria-label": `Copy ${label}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Only pages over TLS or of this machine may write to the clipboard.
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return h("div", { class: "copyable" }, h("span", {}, label), code, button);
}
