// Conveniences only: without JavaScript the page shows, prints and enlarges everything.
(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // --- tables: a heading's button sorts; a row of words stays below its row of numbers
  const number = (text) => {
    const found = text.replace(/^[^0-9.+-]*/, "").match(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?/i);
    return found ? parseFloat(found[0]) : NaN;
  };
  const compare = (a, b, numeric) => {
    if (!numeric) return a.localeCompare(b, "en", { numeric: true });
    const [x, y] = [number(a), number(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return x - y;
  };
  const groups = (body) => {
    const found = [];
    for (const row of body.rows) {
      if (row.classList.contains("words") && found.length) found[found.length - 1].push(row);
      else found.push([row]);
    }
    return found;
  };
  const sort = (table, column, heading) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numeric = heading.classList.contains("num");
    const text = (group) => (group[0].cells[column] ? group[0].cells[column].textContent.trim() : "");
    const absent = (group) => ["", "n/a"].includes(text(group));
    const sorted = groups(table.tBodies[0]).sort((a, b) =>
      absent(a) || absent(b) ? absent(a) - absent(b) : compare(text(a), text(b), numeric) * (down ? -1 : 1));
    table.tBodies[0].append(...sorted.flat());
  };
  for (const table of all("main table")) {
    if (!table.tHead || !table.tBodies.length || groups(table.tBodies[0]).length < 2) continue;
    all("thead th", table).forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(table, column, heading));
    });
  }

  // --- search: the cards of a section whose stimulus holds the words
  for (const box of all("[data-search]")) {
    const cards = all(".card[data-name]", document.getElementById(box.dataset.search));
    const input = box.querySelector("input");
    const told = box.querySelector("output");
    box.hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const card of cards) {
        const fits = words.every((word) => card.dataset.name.toLowerCase().includes(word));
        card.parentElement.hidden = !fits;
        shown += fits;
      }
      told.textContent = words.length ? `${shown} of ${cards.length} stimuli` : "";
    });
  }

  // --- copy
  for (const button of all("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Selected: press Ctrl+C";
      }
      setTimeout(() => { button.textContent = label; }, 2500);
    });
  }

  // --- an enlarged picture: Escape closes it, arrows lead to its neighbours
  document.addEventListener("keydown", (event) => {
    const open = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
    if (!open || !open.classList.contains("large") || event.altKey || event.ctrlKey || event.metaKey) return;
    const way = { Escape: ".close", ArrowLeft: ".previous", ArrowRight: ".next" }[event.key];
    const link = way && open.querySelector(way);
    if (!link) return;
    event.preventDefault();
    location.hash = link.getAttribute("href");
  });
  addEventListener("hashchange", () => {
    const open = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const close = open && open.classList.contains("large") && open.querySelector(".close");
    if (close) close.focus();
  });

  // --- print with everything unfolded; afterwards as it was
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => {
    folded.forEach((part) => { part.open = false; });
  });

  // --- where the reader is
  const links = new Map(all("nav a").map((link) => [link.getAttribute("href").slice(1), link]));
  const seen = new Map();
  const watcher = new IntersectionObserver((entries) => {
    entries.forEach((entry) => seen.set(entry.target.id, entry.isIntersecting));
    const first = all("main section[id]").find((section) => seen.get(section.id) && links.has(section.id));
    links.forEach((link) => link.removeAttribute("aria-current"));
    if (first) links.get(first.id).setAttribute("aria-current", "true");
  }, { rootMargin: "-10% 0px -60% 0px" });
  all("main section[id]").forEach((section) => watcher.observe(section));
})();
