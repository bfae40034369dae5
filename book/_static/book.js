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
  const choices = ["verdict", "chapter", "profile"].map((facet) => {
    const label = form.appendChild(document.createElement("label"));
    label.textContent = facet[0].toUpperCase() + facet.slice(1);
    const select = label.appendChild(document.createElement("select"));
    select.name = facet;
    select.add(new Option("all", ""));
    [...new Set(claims.map((claim) => claim.dataset[facet]))].sort().forEach((value) => select.add(new Option(value)));
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
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  claims[0].closest("section").before(form);
  show();
});
