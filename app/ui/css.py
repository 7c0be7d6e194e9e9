"""CSS beyond the theme in app/.streamlit/config.toml. `access/styled.py` puts it into the document."""

STYLE = """<style>
.block-container {padding-top: 3.9rem; padding-bottom: 4rem; max-width: 1480px;}
[data-testid="stSidebarHeader"] {padding-bottom: 0; height: 2.5rem;}
[data-testid="stMetric"] {padding: .4rem 0 !important;}
[data-testid="stMetricLabel"] p {font-size: .8rem;}
[data-testid="stMetricDelta"] {font-size: .78rem; padding: 0 .4rem;}
[data-testid="stMetric"] :is([data-testid="stMetricLabel"], [data-testid="stMetricDelta"]),
[data-testid="stMetric"] :is([data-testid="stMetricLabel"], [data-testid="stMetricDelta"]) * {
  white-space: normal !important; overflow: visible !important; text-overflow: clip !important; height: auto;}
h1 {padding: 0 0 .2rem !important;}
h2 {padding-top: 1.2rem !important;}
.block-container > [data-testid="stVerticalBlock"] {gap: .7rem;}
.st-key-knobs [data-testid="stVerticalBlock"] {gap: .35rem;}
.st-key-knobs {gap: 0 !important;}
/* The room of controls that have not come yet: */
@media (min-width: 1000px) {
  .st-key-knobs [data-testid="stColumn"] {min-height: 5.65rem;}
  .st-key-knobs [data-testid="stColumn"] [data-testid="stElementContainer"]:first-child {min-height: 3.25rem;}
}
.st-key-focus, .st-key-compare, .st-key-way, .st-key-per {min-height: 4.25rem;}
.st-key-knobs [data-testid="stCaptionContainer"] p {font-size: .78rem; line-height: 1.3;}
.legend {display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; font-size: .85rem; align-items: center;}
.legend span {display: inline-flex; align-items: center; gap: .4rem;}
.legend i {width: .75rem; height: .75rem; border-radius: 2px;}
.strip {font-size: .82rem; padding: .3rem .7rem; border-radius: .4rem; background: rgba(47,127,209,.13);}
.strip a {color: inherit; font-weight: 600;}
.lead a {color: inherit;}
[data-testid="stSliderThumbValue"], [data-testid="stSliderThumbValue"] p,
[role="radio"][aria-checked="true"], [role="radio"][aria-checked="true"] p,
[data-testid="stTab"][aria-selected="true"] p {color: inherit !important; font-weight: 600;}
[data-testid="stCaptionContainer"] {opacity: .85 !important;}
.lead {font-size: .95rem; margin: 0; line-height: 1.45;}
.outline {border: 2px solid rgba(128,138,155,.8); border-radius: 3px; width: 100%; max-width: 20.6rem;
  aspect-ratio: 1; container-type: inline-size; box-sizing: border-box; font-variant-numeric: tabular-nums;
  line-height: 1.3;}
.outline section {padding: .35rem .6rem;}
.outline p {margin: 0 0 .4rem; font-size: .8rem;}
.outline div {display: flex; align-items: center; margin: .2rem 0;}
.outline div p {margin: 0; font-size: .78rem; line-height: 1.25;}
.outline div > span {flex: none; display: inline-flex; justify-content: center; margin-right: .6rem;}
.outline i {display: block; aspect-ratio: 1; flex: none;}
.outline b {font-weight: 650; white-space: nowrap;}
.outline em {font-style: normal;}
.film {display: flex; flex-wrap: wrap; gap: 1rem 1.4rem; align-items: flex-end;}
.film figure {margin: 0; min-width: 6.5rem; max-width: 260px;}
.film img {image-rendering: pixelated; display: block; border-radius: 3px; max-width: 100%;
  outline: 1px solid rgba(128,138,155,.45);}
.film figcaption {font-size: .8rem; line-height: 1.35; margin-top: .4rem; border-left: 3px solid var(--c, transparent);
  padding-left: .45rem;}
.film b {font-weight: 650; font-variant-numeric: tabular-nums;}
.quiet {opacity: .78;}
.split {width: 100%; border-collapse: separate; border-spacing: 2px; table-layout: fixed; font-size: .66rem;
  font-variant-numeric: tabular-nums; margin: 0;}
.split td {padding: .18rem 0; text-align: center; border: 0; border-radius: 3px; line-height: 1.2;}
.split th {position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);}
@media (max-width: 640px) {
  .block-container {padding-left: 1rem; padding-right: 1rem;}
  .film {gap: .8rem;}
}
</style>"""
