// Repairs to markup of the theme that stands in the way of assistive technology.
document.addEventListener("DOMContentLoaded", () => {
  // The label "Search" hides the button's own text, which also names its shortcut.
  document.querySelectorAll(".search-button-field").forEach((button) => button.removeAttribute("aria-label"));
  // A list may hold list items only, and these are bibliography entries.
  document.querySelectorAll(".citation-list").forEach((list) => list.removeAttribute("role"));
});

// A box that scrolls sideways must be within reach of the keyboard.
const reachScrollingBoxes = () =>
  document.querySelectorAll(".pst-scrollable-table-container, .cell_output .output").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  });
window.addEventListener("load", reachScrollingBoxes);
window.addEventListener("resize", reachScrollingBoxes);
