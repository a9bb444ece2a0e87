/**
 * How the monitor looks: one constructable stylesheet, which needs no `unsafe-inline` in a page's policy.
 *
 * Pages change it by the custom properties of `:host`.
 *
 * @module
 */

const CSS = `
:host {
  --ink: var(--mix-ink, #16202a); --paper: var(--mix-paper, #fff); --line: var(--mix-line, #d9dde1); --soft: var(--mix-soft, #59636e);
  --accent: var(--mix-accent, #0b5cad); --good: #14733a; --bad: #b3261e; --work: #855800;
  --real: #0b5cad; --cover: #6b7480; --surb: #a3540a; --ack: #14733a; --retransmitted: #b3261e;
  display: block; container-type: inline-size; color: var(--ink); background: var(--paper);
  border: 1px solid var(--line); border-radius: 10px; padding: 1rem; font: 0.9375rem/1.45 system-ui, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :host {
    --ink: var(--mix-ink, #e8e6e1); --paper: var(--mix-paper, #1b1f24); --line: var(--mix-line, #343a41); --soft: var(--mix-soft, #a2abb5);
    --accent: var(--mix-accent, #79b8ff); --good: #5ecb83; --bad: #ff8a80; --work: #e0b341;
    --real: #79b8ff; --cover: #8f99a4; --surb: #e69a4d; --ack: #5ecb83; --retransmitted: #ff8a80;
  }
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
h3 { margin: 0 0 0.4rem; font-size: 0.8125rem; font-weight: 600; color: var(--soft); }
p { margin: 0; }
.heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.head { display: flex; align-items: center; gap: 0.75rem; margin-bottom: 0.9rem; }
.state { font-weight: 600; font-size: 1.0625rem; }
.state::before { content: ""; display: inline-block; width: 0.6em; height: 0.6em; margin-right: 0.5em; border-radius: 50%; background: var(--soft); }
.state[data-state="ready"]::before { background: var(--good); }
.state[data-state="connecting"]::before, .state[data-state="reconnecting"]::before { background: var(--work); }
.state[data-state="failed"]::before { background: var(--bad); }
button { margin-left: auto; font: inherit; color: var(--accent); background: none; border: 1px solid currentColor; border-radius: 6px; padding: 0.2rem 0.8rem; min-height: 2rem; cursor: pointer; }
button:focus-visible, [tabindex]:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.part { margin-top: 1rem; }
.steps { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fit, minmax(6.5rem, 1fr)); gap: 0.5rem; }
.steps li { border-top: 3px solid var(--line); padding-top: 0.3rem; color: var(--soft); }
.steps li[data-at="done"] { border-color: var(--good); color: var(--ink); }
.steps li[aria-current] { border-color: var(--work); color: var(--ink); font-weight: 600; }
.steps small { display: block; font-weight: 400; font-variant-numeric: tabular-nums; }
progress { display: block; width: 100%; height: 0.5rem; margin-top: 1rem; accent-color: var(--accent); }
.error { border-left: 3px solid var(--bad); padding: 0.1rem 0 0.1rem 0.75rem; }
.error code, .hops code { font: 0.8125rem ui-monospace, monospace; }
.error strong { color: var(--bad); }
.warning { border-color: var(--work); }
.warning strong { color: var(--work); }
.stage { min-height: 11.5rem; }
.route canvas { display: block; width: 100%; height: 84px; }
.hops { list-style: none; display: grid; grid-template-columns: repeat(6, 1fr); margin: 0; padding: 0; text-align: center; }
.hops b { display: block; font-size: 0.8125rem; }
.hops code { color: var(--soft); font-size: 0.6875rem; overflow-wrap: anywhere; }
.note { color: var(--soft); font-size: 0.8125rem; margin-top: 0.35rem; min-height: 1.45em; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); gap: 1rem 1.5rem; }
.charts figure { margin: 0; min-width: 0; }
.plot { height: 120px; }
.legend { display: flex; flex-wrap: wrap; gap: 0.15rem 0.9rem; margin: 0.2rem 0 0; padding: 0; list-style: none; font-size: 0.8125rem; }
.legend li::before { content: ""; display: inline-block; width: 1.3em; margin-right: 0.4em; vertical-align: 0.25em; border-top: 2px solid var(--color); }
.legend li[data-dash]::before { border-top-style: dashed; }
.legend b, td, dd { font-variant-numeric: tabular-nums; }
.legend [data-line="real"] { --color: var(--real); } .legend [data-line="cover"] { --color: var(--cover); }
.legend [data-line="surb"] { --color: var(--surb); } .legend [data-line="ack"] { --color: var(--ack); }
.legend [data-line="retransmitted"] { --color: var(--retransmitted); } .legend [data-line="trip"] { --color: var(--accent); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: 0.75rem 1rem; margin: 1rem 0 0; }
.tiles div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
dt { color: var(--soft); font-size: 0.8125rem; }
dd { margin: 0; font-size: 1.125rem; font-weight: 600; }
details { margin-top: 1rem; border-top: 1px solid var(--line); padding-top: 0.6rem; }
summary { cursor: pointer; font-weight: 600; font-size: 0.8125rem; color: var(--soft); min-height: 1.5rem; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 0.8125rem; }
th, td { text-align: left; padding: 0.25rem 0.6rem 0.25rem 0; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 400; border-bottom: 1px solid var(--line); }
.n { text-align: right; }
tbody th { font-weight: 600; max-width: 16rem; overflow: hidden; text-overflow: ellipsis; }
@container (max-width: 30rem) { .stage { min-height: 14.5rem; } tbody th { max-width: 7rem; } th, td { padding-right: 0.4rem; } }
.uplot, .uplot *, .uplot *::before, .uplot *::after { box-sizing: border-box; }
.uplot { line-height: 1.5; width: min-content; }
.u-wrap { position: relative; user-select: none; }
.u-over, .u-under { position: absolute; }
.uplot canvas { display: block; position: relative; width: 100%; height: 100%; }
.u-axis { position: absolute; }
.u-select, .u-cursor-x, .u-cursor-y, .u-cursor-pt { display: none; }
`;

/** @type {CSSStyleSheet | null} */
let sheet = null;

/** The same for all monitors of a page. @returns {CSSStyleSheet} */
export function styleSheet() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
