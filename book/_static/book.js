// Repairs to markup of the theme that stands in the way of assistive technology.
document.addEventListener("DOMContentLoaded", () => {
  // The label "Search" hides the button's own text, which also names its shortcut.
  document.querySelectorAll(".search-button-field").forEach((button) => button.removeAttribute("aria-label"));
  // A list may hold list items only, and what the theme calls bibliography entries is a role of the past.
  document.querySelectorAll(".citation-list").forEach((list) => list.setAttribute("role", "list"));
  document.querySelectorAll(".citation").forEach((entry) => entry.setAttribute("role", "listitem"));
  // The corner of a table that names rows and columns heads neither.
  document.querySelectorAll("th").forEach((head) => {
    if (!head.textContent.trim()) head.replaceWith(document.createElement("td"));
  });
  // Everything on a page has to lie in a landmark, the logo in the sidebar too.
  const home = document.querySelector(".bd-sidebar-primary .navbar-brand")?.parentElement;
  home?.setAttribute("role", "navigation");
  home?.setAttribute("aria-label", "Home");
});

// A box that scrolls sideways must be within reach of the keyboard. An observer learns its size after each layout,
// without asking for one.
const scrollers = new ResizeObserver((entries) =>
  entries.forEach(({ target }) => {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
  })
);
const reachByKeyboard = (selector) => document.querySelectorAll(selector).forEach((box) => scrollers.observe(box));
document.addEventListener("DOMContentLoaded", () =>
  reachByKeyboard(".pst-scrollable-table-container, .cell_output .output")
);

// A link into a page leads astray when formulas above its target are set after the jump: so jump again, unless the
// reader has moved on meanwhile or only reloads the page.
let readerMoved = performance.getEntriesByType("navigation")[0]?.type === "reload";
for (const move of ["wheel", "touchstart", "pointerdown", "keydown"])
  addEventListener(move, () => (readerMoved = true), { once: true, passive: true });
const goToTarget = () => {
  if (!readerMoved && location.hash)
    document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView({ behavior: "instant" });
};
addEventListener("load", goToTarget);

// Paper is white, and nothing on it unfolds.
let shownOnScreen;
addEventListener("beforeprint", () => {
  const folded = [...document.querySelectorAll("article details.sd-dropdown:not([open])")];
  shownOnScreen = { theme: document.documentElement.dataset.theme, folded };
  document.documentElement.dataset.theme = "light";
  folded.forEach((details) => (details.open = true));
});
addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = shownOnScreen.theme;
  shownOnScreen.folded.forEach((details) => (details.open = false));
});

// What the search shows of a page is its prose, without the page's furniture, what code printed, and formulas.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    page.querySelectorAll(".headerlink, script, style, pre, .cell_output, .chapter-card").forEach((node) => node.remove());
    page.querySelectorAll(".math").forEach((formula) => formula.replaceWith("…"));
    return ((anchor && page.querySelector(anchor)) || page.querySelector("article"))?.textContent ?? "";
  };
});

// Of MathJax only what setting formulas and reading them aloud needs, not its menu. Formulas are set a few at a time, so
// that a page with hundreds of them answers in between.
const FORMULAS_AT_ONCE = 8;
window.MathJax = {
  ...window.MathJax,
  loader: { load: ["core", "input/tex", "output/chtml", "a11y/assistive-mml"] },
  startup: {
    async pageReady() {
      const formulas = [...document.querySelectorAll(".math")];
      while (formulas.length) {
        await MathJax.typesetPromise(formulas.splice(0, FORMULAS_AT_ONCE));
        await new Promise((done) => setTimeout(done));
      }
      reachByKeyboard('mjx-container[display="true"]');
      goToTarget();
      requestAnimationFrame(goToTarget);
    },
  },
};

// Results page: show the claims of one verdict, chapter or profile. Without this script all of them are shown.
document.addEventListener("DOMContentLoaded", () => {
  const claims = [...document.querySelectorAll(".claim[data-verdict]")];
  if (!claims.length) return;
  const form = document.createElement("form");
  form.className = "claim-filter";
  form.setAttribute("aria-label", "Filter the claims");
  const values = (facet) => [...new Set(claims.map((claim) => claim.dataset[facet]))].sort();
  const asked = new URLSearchParams(location.search);
  const choices = ["verdict", "chapter", "profile"].map((facet) => {
    const label = form.appendChild(document.createElement("label"));
    label.textContent = facet[0].toUpperCase() + facet.slice(1);
    const select = label.appendChild(document.createElement("select"));
    select.name = facet;
    select.add(new Option("all", ""));
    values(facet).forEach((value) => select.add(new Option(value)));
    if (values(facet).includes(asked.get(facet))) select.value = asked.get(facet);
    return select;
  });
  const count = form.appendChild(document.createElement("output"));
  const show = () => {
    const shown = claims.filter((claim) => {
      claim.hidden = choices.some(({ name, value }) => value && claim.dataset[name] !== value);
      return !claim.hidden;
    });
    new Set(claims.map((claim) => claim.closest("section"))).forEach((section) => {
      section.hidden = !shown.some((claim) => section.contains(claim));
    });
    count.textContent = `${shown.length} of ${claims.length} claims`;
  };
  const remember = () => {
    const address = new URL(location);
    address.search = new URLSearchParams(choices.filter(({ value }) => value).map(({ name, value }) => [name, value]));
    history.replaceState(null, "", address);
  };
  form.addEventListener("change", () => (show(), remember()));
  addEventListener("hashchange", () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target?.closest("[hidden]")) return;
    choices.forEach((select) => (select.value = ""));
    show();
    remember();
    target.scrollIntoView({ behavior: "instant" });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  claims[0].closest("section").before(form);
  show();
});
