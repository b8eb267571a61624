
"use strict";
const box = document.querySelector(".slides"), buttons = [...document.querySelectorAll(".sort button")];
const order = by => {
  const number = slide => Number(slide.dataset[by]);
  box.append(...[...box.children].sort((a, b) => number(a) - number(b) || a.dataset.name - b.dataset.name));
  buttons.forEach(button => button.setAttribute("aria-pressed", button.dataset.by === by));
};
buttons.forEach(button => button.addEventListener("click", () => order(button.dataset.by)));
document.addEventListener("keydown", event => {
  const step = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
  const maps = [...box.querySelectorAll(".map")], at = maps.indexOf(document.activeElement);
  const next = maps[at < 0 ? (step > 0 ? 0 : maps.length - 1) : at + step];
  if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); event.preventDefault(); }
});
