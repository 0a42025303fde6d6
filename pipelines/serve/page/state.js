// Shared state of the page, and the colours of labels.
export const state = {
  models: [], guidelines: [], vocabularies: [], limits: null, pictures: false, deidentify: null,
  answer: null,  // the last response and its text
  read: "", points: [], printed: "", file: null,
  chosen: new Set(), least: 0,
};
const NEUTRAL = { light: "#465a75", dark: "#a9bbd3", line: "solid" };
const styles = new CSSStyleSheet();
const looks = new Map();
document.adoptedStyleSheets = [styles];

export const told = () => state.answer?.documents[0];
export const entities = () => told()?.entities ?? [];
export const passes = (entity) => !entity.gone &&
  (entity.score === null || entity.score >= state.least) && (!state.chosen.size || state.chosen.has(entity.label));

// The CSS class of a label; labels that no model announced are neutral.
export function look(label) {
  if (!looks.has(label)) add(label, NEUTRAL);
  return looks.get(label);
}
function add(label, { light, dark, line }) {
  const name = `k${looks.size}`;
  looks.set(label, name);
  styles.insertRule(`.${name}{--ink-light:${light};--ink-dark:${dark};--line:${line}}`, styles.cssRules.length);
}
export function learn(labels) {
  for (const label of labels) if (!looks.has(label.name)) add(label.name, label);
}
