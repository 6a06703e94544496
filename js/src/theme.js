// Colours: those of the page's theme, read anew whenever it changes.

const LIGHT = ["#1f77b4", "#d9480f", "#2b8a3e", "#9c36b5", "#b08900", "#0b7285", "#c2255c", "#5f3dc4"];
const DARK = ["#5cb3ff", "#ff9f5a", "#69db7c", "#e599f7", "#ffd43b", "#3bc9db", "#ff8fab", "#b197fc"];

/** Return the colours for a plot where it stands in the page; `faint` is an element of it with fainter text. */
export function coloursOf(root, faint) {
  const dark = isDark(root);
  return {
    dark,
    series: dark ? DARK : LIGHT,
    faint: getComputedStyle(faint).color || "gray",
    grid: dark ? "rgba(255, 255, 255, 0.11)" : "rgba(0, 0, 0, 0.10)",
  };
}

/** Call back whenever the page's theme changes; return what ends that. */
export function onThemeChange(callback) {
  const watcher = new MutationObserver(() => requestAnimationFrame(callback));
  const watched = { attributes: true, attributeFilter: ["class", "data-jp-theme-name", "data-jp-theme-light", "style"] };
  for (const element of [document.documentElement, document.body]) watcher.observe(element, watched);
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", callback);
  return () => {
    watcher.disconnect();
    media.removeEventListener("change", callback);
  };
}

function isDark(element) {
  const stated = document.body.dataset.jpThemeLight;
  if (stated !== undefined) return stated === "false";
  const [red, green, blue, alpha = 1] = getComputedStyle(element).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
  if (blue === undefined || alpha === 0) return matchMedia("(prefers-color-scheme: dark)").matches;
  return 0.3 * red + 0.6 * green + 0.1 * blue < 128;
}
