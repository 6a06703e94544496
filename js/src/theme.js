// Colours: those of the page's theme, read anew whenever it changes.

const LIGHT = ["#1f77b4", "#d9480f", "#2b8a3e", "#9c36b5", "#b08900", "#0b7285", "#c2255c", "#5f3dc4"];
const DARK = ["#5cb3ff", "#ff9f5a", "#69db7c", "#e599f7", "#ffd43b", "#3bc9db", "#ff8fab", "#b197fc"];

/** Return the colours for an element where it stands in the page. */
export function coloursOf(element) {
  const style = getComputedStyle(element);
  const dark = isDark(style.getPropertyValue("--hermes-background"), element);
  return {
    dark,
    series: dark ? DARK : LIGHT,
    text: style.color,
    faint: style.getPropertyValue("--hermes-faint-text").trim() || style.color,
    grid: dark ? "rgba(255, 255, 255, 0.10)" : "rgba(0, 0, 0, 0.09)",
    line: dark ? "rgba(255, 255, 255, 0.28)" : "rgba(0, 0, 0, 0.25)",
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

function isDark(background, element) {
  const stated = document.body.dataset.jpThemeLight;
  if (stated !== undefined) return stated === "false";
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = background.trim() || getComputedStyle(element).backgroundColor;
  const [red, green, blue] = (probe.fillStyle.match(/[0-9a-f]{2}/gi) ?? ["ff", "ff", "ff"]).map((two) => parseInt(two, 16));
  return 0.3 * red + 0.6 * green + 0.1 * blue < 128;
}
