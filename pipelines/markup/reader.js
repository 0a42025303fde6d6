// The reader page: document list, filters and tooltips. Without this script the page still shows
// every document, one below the other. Texts are never split here: JavaScript strings are UTF-16 and
// offsets are code points, so the text was split when the page was written.
(() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const data = JSON.parse($("#data").textContent);
  const articles = $$("article");
  const links = $$("#list a");
  const rows = $$("#list li");
  const [KEY, SCORE, START, END, FACTS, ECHO] = [0, 1, 2, 3, 4, 5];
  const chosen = { keys: new Set(), statuses: new Set(), score: 0, query: "" };
  const lower = articles.map((article) => {
    const text = $(".text", article);
    return ($("h2", article).textContent + "\n" + (text ? text.textContent : "")).toLowerCase();
  });
  let current = -1;
  document.documentElement.classList.add("live");

  const passes = (item) =>
    (item[SCORE] === null || item[SCORE] >= chosen.score) &&
    (!chosen.keys.size || chosen.keys.has(item[KEY]));
  const quiet = new Set(data.quiet);
  const counts = (item) => passes(item) && !item[ECHO] && (chosen.keys.size > 0 || !quiet.has(item[KEY]));
  const hasStatus = (article) =>
    !chosen.statuses.size ||
    chosen.statuses.has(article.dataset.status) ||
    (chosen.statuses.has("not found") && "unplaced" in article.dataset);

  function dim(i) {
    for (const mark of $$("[data-e]", articles[i])) {
      mark.classList.toggle("off", !passes(data.items[i][mark.dataset.e]));
    }
  }

  function filter() {
    let found = 0, marks = 0;
    articles.forEach((article, i) => {
      const left = data.items[i].filter(counts).length;
      const shown = hasStatus(article) && lower[i].includes(chosen.query) && (left > 0 || !chosen.keys.size);
      rows[i].hidden = !shown;
      article.classList.toggle("out", !shown);
      $(".n", links[i]).textContent = left.toLocaleString("en");
      if (shown) { found += 1; marks += left; }
    });
    $("#found").textContent =
      `${found.toLocaleString("en")} of ${articles.length.toLocaleString("en")} documents, ${marks.toLocaleString("en")} ${data.words}`;
    for (const button of $$("[data-key]")) {
      button.setAttribute("aria-pressed", chosen.keys.has(+button.dataset.key));
    }
    for (const button of $$("[data-status][aria-pressed]")) {
      button.setAttribute("aria-pressed", chosen.statuses.has(button.dataset.status));
    }
    $("#clear").hidden = !chosen.keys.size;
    if (current < 0 || rows[current].hidden) {
      const first = rows.findIndex((row) => !row.hidden);
      if (first >= 0) show(first);
    }
    if (current >= 0) { dim(current); fill(); find(); pager(); }
  }

  function show(i) {
    if (i < 0 || i >= articles.length) return;
    if (current >= 0) {
      articles[current].classList.remove("on");
      links[current].removeAttribute("aria-current");
    }
    current = i;
    articles[i].classList.add("on");
    links[i].setAttribute("aria-current", "true");
    const list = $("#list"), box = rows[i].getBoundingClientRect(), view = list.getBoundingClientRect();
    if (box.top < view.top || box.bottom > view.bottom) list.scrollTop += box.top - view.top - 60;
    const stops = $$("[data-e]", articles[i]);
    stops.forEach((mark, n) => mark.setAttribute("tabindex", n ? "-1" : "0"));
    dim(i); fill(); find(); pager(); hide();
  }

  const others = (step) => {
    let i = current + step;
    while (i >= 0 && i < rows.length && rows[i].hidden) i += step;
    return i >= 0 && i < rows.length ? i : -1;
  };
  function go(step) {
    const i = others(step);
    if (i < 0) return;
    show(i);
    history.replaceState(null, "", `#d${i}`);
    if ($("#reader").getBoundingClientRect().top < -80) $(".pages").scrollIntoView();
  }
  function pager() {
    $("#prev").disabled = others(-1) < 0;
    $("#next").disabled = others(1) < 0;
  }

  // Highlight search matches if the browser supports the CSS Custom Highlight API.
  function find() {
    if (!window.Highlight || !CSS.highlights) return;
    CSS.highlights.delete("found");
    const text = current >= 0 && $(".text", articles[current]);
    if (!chosen.query || !text) return;
    const ranges = [], walk = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      const low = node.data.toLowerCase();
      if (low.length !== node.data.length) continue;
      for (let at = low.indexOf(chosen.query); at >= 0; at = low.indexOf(chosen.query, at + 1)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + chosen.query.length);
        ranges.push(range);
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  }

  const make = (name, className, text) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const parts = (n) => $$(`[data-e="${n}"]`, articles[current]);
  const words = (n) => {
    const found = parts(n);
    if (!found.length) return "";
    return found[0].matches("li") ? found[0].firstElementChild.textContent : found.map((m) => m.textContent).join("");
  };

  function fill() {
    const all = $("#all");
    if (!all.open || current < 0) return;
    const scored = !!$("#score");
    $("tbody", all).replaceChildren(...data.items[current].map((item, n) => {
      if (!passes(item)) return "";
      const row = make("tr", `k${item[KEY]}`), cell = make("td"), button = make("button", "", words(n) || "…");
      button.type = "button";
      button.addEventListener("click", () => point(n));
      cell.append(button);
      row.append(make("td", "name", data.keys[item[KEY]]), cell);
      if (scored) row.append(make("td", "r", item[SCORE] === null ? "" : item[SCORE].toFixed(3)));
      row.append(make("td", "r", item[START] ?? "not found"), make("td", "r", item[END] ?? ""));
      row.append(make("td", "", item[FACTS].map((f) => data.facts[f].join(": ")).join("; ")));
      return row;
    }));
  }
  function point(n) {
    const part = parts(n)[0];
    if (!part) return;
    part.scrollIntoView({ block: "center" });
    part.focus({ preventScroll: true });
  }

  // Tooltip of the pointer or focus: every mark around it, innermost first.
  function tell(target) {
    const pop = $("#pop"), seen = [];
    for (let mark = target; mark; mark = mark.parentElement && mark.parentElement.closest("[data-e]")) seen.push(mark);
    pop.replaceChildren(...seen.map((mark) => {
      const item = data.items[current][mark.dataset.e], part = make("section"), head = make("h4"), list = make("dl");
      head.append(make("mark", `k${item[KEY]}`, mark.dataset.t || data.keys[item[KEY]]));
      const fact = (name, value) => list.append(make("dt", "", name), value);
      if (item[SCORE] !== null) {
        const value = make("dd"), meter = make("meter");
        meter.value = item[SCORE];
        value.append(meter, item[SCORE].toFixed(3));
        fact("score", value);
      }
      fact("offsets", make("dd", "", item[START] === null ? "not found in the text" : `${item[START]}–${item[END]}`));
      for (const f of item[FACTS]) fact(data.facts[f][0], make("dd", "", data.facts[f][1]));
      part.append(head, list);
      return part;
    }));
    for (const mark of seen) for (const m of parts(mark.dataset.e)) m.classList.add("hot");
    for (const [head, tail] of data.links[current]) {
      const other = { [head]: tail, [tail]: head }[target.dataset.e];
      if (other !== undefined) for (const m of parts(other)) m.classList.add("kin");
    }
    target.setAttribute("aria-describedby", "pop");
    pop.hidden = false;
    const place = target.getClientRects()[0], width = pop.offsetWidth, height = pop.offsetHeight;
    const below = place.bottom + 10 + height < innerHeight;
    pop.style.left = `${Math.max(12, Math.min(place.left, innerWidth - width - 12))}px`;
    pop.style.top = `${below ? place.bottom + 10 : Math.max(8, place.top - height - 8)}px`;
  }
  // One page image at a time: one that is hidden is not decoded, so 200 turn as quickly as 2.
  function turn(desk, to) {
    const sheets = $$("svg", desk), at = Math.max(0, Math.min(to, sheets.length - 1));
    sheets.forEach((sheet, i) => sheet.toggleAttribute("hidden", i !== at));
    desk.dataset.page = at;
    desk.scrollTop = 0;
    const box = $(".turn", desk.closest(".sheets"));
    if (box) box.value = at + 1;
  }
  // Link a mark with its box on the page image.
  function reveal(mark) {
    const places = parts(mark.dataset.e).filter((part) => part.matches("rect"));
    const desk = places.length && !mark.matches("rect") && places[0].closest(".desk");
    if (!desk) return;
    const sheet = places[0].closest("svg");
    if (sheet.hasAttribute("hidden")) turn(desk, $$("svg", desk).indexOf(sheet));
    const box = places[0].getBoundingClientRect(), view = desk.getBoundingClientRect();
    if (box.top < view.top || box.bottom > view.bottom) desk.scrollTop += box.top - view.top - view.height / 3;
    if (box.left < view.left || box.right > view.right) desk.scrollLeft += box.left - view.left - view.width / 3;
  }
  function zoom(desk, step) {
    const size = Math.max(1, Math.min(5, (+desk.dataset.zoom || 1) * (step > 0 ? 1.4 : 1 / 1.4)));
    desk.dataset.zoom = size;
    for (const sheet of $$("svg", desk)) sheet.style.width = `${100 * size}%`;
  }
  function hide() {
    $("#pop").hidden = true;
    for (const mark of $$(".hot, .kin")) mark.classList.remove("hot", "kin");
    for (const mark of $$("[aria-describedby=pop]")) mark.removeAttribute("aria-describedby");
  }
  const over = (event) => {
    const mark = event.target.closest && event.target.closest("article [data-e]:not(.off)");
    hide();
    if (!mark) return;
    tell(mark);
    if (event.type !== "mouseover") reveal(mark);
    if (event.type === "click" && mark.matches("rect")) point(mark.dataset.e);
  };

  const pages = $(".pages");
  for (const name of ["mouseover", "focusin", "click"]) pages.addEventListener(name, over);
  for (const name of ["mouseleave", "focusout"]) pages.addEventListener(name, hide);
  addEventListener("scroll", hide, { passive: true });
  const toggle = (set, value) => { set.delete(value) || set.add(value); filter(); };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.key) toggle(chosen.keys, +button.dataset.key);
    else if (button.dataset.status) toggle(chosen.statuses, button.dataset.status);
    else if (button.dataset.turn) {
      const desk = $(".desk", button.closest(".sheets"));
      turn(desk, +desk.dataset.page + +button.dataset.turn);
    } else if (button.dataset.zoom) zoom($(".desk", button.closest(".sheets")), +button.dataset.zoom);
    else if (button.id === "clear") { chosen.keys.clear(); filter(); }
    else if (button.id === "prev") go(-1);
    else if (button.id === "next") go(1);
  });
  for (const desk of $$(".desk")) {
    turn(desk, 0);
    desk.addEventListener("keydown", (event) => {
      const step = { PageDown: 1, PageUp: -1 }[event.key];
      if (step) { event.preventDefault(); turn(desk, +desk.dataset.page + step); }
    });
  }
  for (const box of $$(".turn")) {
    box.addEventListener("change", () => turn($(".desk", box.closest(".sheets")), (+box.value || 1) - 1));
  }
  $("#query").addEventListener("input", (event) => { chosen.query = event.target.value.trim().toLowerCase(); filter(); });
  if ($("#score")) {
    $("#score").addEventListener("input", (event) => {
      chosen.score = +event.target.value;
      $("#least").textContent = chosen.score.toFixed(2);
      filter();
    });
  }
  $("#tags").addEventListener("change", (event) => document.documentElement.classList.toggle("bare", !event.target.checked));
  $("#all").addEventListener("toggle", fill);
  addEventListener("beforeprint", () => {
    articles.forEach((_, i) => dim(i));
    for (const sheet of $$(".sheet[hidden]")) sheet.removeAttribute("hidden");
  });
  addEventListener("afterprint", () => { for (const desk of $$(".desk")) turn(desk, +desk.dataset.page); });
  addEventListener("hashchange", hash);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { hide(); if (event.target.id === "query") event.target.blur(); return; }
    if (event.target.matches("input, pre")) return;
    const step = { j: 1, k: -1 }[event.key];
    if (step) go(step);
    else if (event.key === "/") { event.preventDefault(); $("#query").focus(); }
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const stops = current < 0 ? [] : $$("[data-e]:not(.off):not(.i)", articles[current]);
      const at = stops.indexOf(document.activeElement) + (event.key === "ArrowRight" ? 1 : -1);
      const next = stops[Math.max(0, Math.min(at, stops.length - 1))];
      if (next) { event.preventDefault(); next.focus(); }
    }
  });
  function hash() {
    const wanted = /^#d(\d+)$/.exec(location.hash);
    if (wanted && +wanted[1] < articles.length) show(+wanted[1]);
  }
  hash();
  filter();
})();
