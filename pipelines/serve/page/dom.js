// DOM helpers shared by all modules of the page.
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
export const make = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
export const button = (className, text) => {
  const made = make("button", className, text);
  made.type = "button";
  return made;
};
export const number = (n) => n.toLocaleString("en");
export const time = (s) => (s < 1 ? `${Math.max(1, Math.round(s * 1000))} ms` : `${s.toFixed(1)} s`);
export const many = (n, one, more) => `${number(n)} ${n === 1 ? one : more}`;
