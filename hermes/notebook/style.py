"""How the panel looks: colours are those of the notebook's theme, so that it is at home in light and dark ones."""

STYLE = """<style>
.hermes-controls { --hermes-line: var(--jp-border-color2, #ccc); --hermes-dim: var(--jp-ui-font-color2, #666);
  --hermes-mono: var(--jp-code-font-family, ui-monospace, monospace); --hermes-size: var(--jp-ui-font-size1, 13px);
  font-size: var(--hermes-size); color: var(--jp-ui-font-color1, #222); gap: 6px; overflow: visible; padding: 2px; }
.hermes-controls .widget-html-content, .hermes-controls .jupyter-widgets.widget-html {
  line-height: 22px; min-height: 0; margin: 0; font-size: var(--hermes-size); }
.hermes-controls .hermes-number, .hermes-controls .hermes-field input, .hermes-controls .hermes-step-count input {
  font-family: var(--hermes-mono); font-variant-numeric: tabular-nums; font-weight: normal; }
.hermes-hidden { display: none !important; }
.hermes-toolbar { gap: 4px; align-items: center; flex-flow: row wrap; overflow: visible; }
.hermes-toolbar .jupyter-button { margin: 0; width: auto; padding: 0 9px; height: 26px; line-height: 26px; }
.hermes-toolbar .jupyter-button .fa, .hermes-toolbar .jupyter-button i { margin-right: 5px; }
.hermes-resume i { color: #16a34a; } .hermes-pause i { color: #d97706; }
.hermes-controls .jupyter-button:focus-visible, .hermes-controls input:focus-visible,
.hermes-controls .noUi-handle:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.hermes-controls .widget-text { margin: 0; }
.hermes-step-count { width: 52px; margin: 0 6px 0 -3px !important; }
.hermes-controls .hermes-step-count input, .hermes-controls .hermes-field input {
  height: 22px; text-align: right; text-overflow: ellipsis; padding: 0 5px; font-size: var(--hermes-size); }
.hermes-step-count.widget-text, .hermes-step-count input { height: 26px !important; }
.hermes-status { margin-left: 4px; }
.hermes-status .widget-html-content { display: flex; flex-flow: row wrap; align-items: center; gap: 2px 10px; }
.hermes-badge { display: inline-block; min-width: 62px; padding: 0 8px; border-radius: 3px; text-align: center;
  line-height: 20px; font-weight: 600; color: #fff; background: #6b7280; }
.hermes-is-paused { background: #b45309; } .hermes-is-running { background: #15803d; }
.hermes-is-finished { background: #1d4ed8; } .hermes-is-failed { background: #b91c1c; }
.hermes-part { color: var(--hermes-dim); white-space: nowrap; }
.hermes-part b { color: var(--jp-ui-font-color1, #222); display: inline-block; text-align: right; }
.hermes-time b { min-width: 8ch; } .hermes-frame b { min-width: 6ch; text-align: left; }
.hermes-session { font-weight: 600; max-width: 16ch; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.hermes-note { color: var(--hermes-dim); }
.hermes-failure .widget-html-content { border-left: 3px solid #b91c1c; padding: 2px 10px;
  background: color-mix(in srgb, #b91c1c 10%, transparent); }
.hermes-failure pre { margin: 2px 0; font-size: 12px; line-height: 1.35; max-height: 220px; overflow: auto;
  background: none; color: inherit; }
.hermes-why { font-weight: 600; overflow-wrap: anywhere; } .hermes-failure summary { cursor: pointer; }
.hermes-searching { align-items: center; gap: 8px; overflow: visible; }
.hermes-search { width: 260px; } .hermes-search input { height: 24px; font-size: var(--hermes-size); }
.hermes-matches { color: var(--hermes-dim); }
.hermes-fields { flex-flow: row wrap; align-items: flex-start; gap: 4px 14px; max-height: 420px; overflow: auto;
  padding: 0 2px; }
.hermes-controls .hermes-module { display: grid; grid-template-columns: 140px 90px 140px 110px; align-items: center;
  gap: 1px 4px; overflow: visible; }
.hermes-controls .hermes-module > .jupyter-widgets { margin: 0; width: auto; min-width: 0; }
.hermes-controls .hermes-module > .hermes-heading { grid-column: 1 / -1; }
.hermes-controls .hermes-module > .hermes-name { grid-column: 1; }
.hermes-controls .hermes-module > .hermes-slider { grid-column: 2; margin: 0 6px; }
.hermes-controls .hermes-module > .hermes-field { grid-column: 3; }
.hermes-controls .hermes-module > .hermes-field.hermes-alone { grid-column: 2 / 4; }
.hermes-controls .hermes-module > .hermes-checkbox { grid-column: 2 / 4; height: 24px; }
.hermes-controls .hermes-module > .hermes-unit { grid-column: 4; overflow: visible; }
.hermes-heading .widget-html-content { font-weight: 600; border-bottom: 1px solid var(--hermes-line); }
.hermes-controls .hermes-name { overflow: hidden; } .hermes-controls .hermes-name .widget-html-content {
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.hermes-unit .widget-html-content { white-space: nowrap; padding-left: 2px; }
.hermes-limits { color: var(--hermes-dim); font-size: 11px; font-family: var(--hermes-mono); margin-left: 2px; }
.hermes-module .hermes-slider { height: 24px; } .hermes-module .hermes-field { height: 24px; align-items: center; }
.hermes-console { border: 1px solid var(--hermes-line); max-height: 150px; overflow: auto;
  display: flex; flex-flow: column-reverse; resize: vertical; }
.hermes-console > .widget-html { flex: none; overflow: visible; }
.hermes-console .widget-html-content table.hermes-lines { border-collapse: collapse; width: 100%; margin: 0;
  font-size: 12px; font-family: var(--hermes-mono); border: 0; }
.hermes-console table.hermes-lines td { padding: 0 8px; line-height: 18px; text-align: left; vertical-align: top;
  white-space: nowrap; max-width: none; background: none; }
.hermes-console table.hermes-lines td.hermes-number { text-align: right; color: var(--hermes-dim); width: 1%; }
.hermes-console table.hermes-lines td:nth-child(3) { width: 1%; color: var(--hermes-dim); }
.hermes-console table.hermes-lines td:last-child { white-space: pre-wrap; overflow-wrap: anywhere; }
.hermes-console table.hermes-lines tr { background: none; border: 0; }
.hermes-lines .hermes-event td:last-child { color: var(--hermes-dim); }
.hermes-lines .hermes-error td:last-child { color: var(--jp-error-color1, #d32f2f); }
.hermes-times { color: var(--hermes-dim); }
</style>"""
