"""The style sheet of report pages: light and dark, narrow and wide, on paper."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--muted:#57606a;--edge:#d0d7de;--band:#f3f5f7;--link:#0b57a4;
--warn:#b42318;--warnband:#fdf1f0}
@media (prefers-color-scheme:dark){:root{--paper:#101418;--ink:#e6edf3;--muted:#a3adb8;--edge:#39424c;--band:#1a2027;
--link:#7cb7ff;--warn:#ff9a8f;--warnband:#2b1a19}
figure svg{filter:invert(.93) hue-rotate(180deg)}}
*{box-sizing:border-box}[hidden]{display:none!important}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1200px;margin:0 auto;padding:0 1rem 3rem}
h1{line-height:1.2;margin:1.5rem 0 .5rem;overflow-wrap:anywhere}
h2{margin:2.5rem 0 .5rem;border-bottom:1px solid var(--edge)}h3{margin:1.5rem 0 .5rem}
a{color:var(--link)}.skip{position:absolute;left:-999em}.skip:focus{left:1rem;top:0;background:var(--paper);padding:.3em}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
nav.contents ul{display:flex;flex-wrap:wrap;gap:.2em 1.2em;list-style:none;padding:0;margin:.5rem 0}
.muted,caption,figcaption{color:var(--muted)}
.warning{border-left:4px solid var(--warn);background:var(--warnband);padding:.4em .8em}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse}caption{text-align:left;padding:.2em 0 .4em}
th,td{border:1px solid var(--edge);padding:.25em .6em;text-align:left;vertical-align:top}
thead th{background:var(--band)}tbody th{font-weight:600}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}td.number{white-space:nowrap}
th button{font:inherit;font-weight:600;color:inherit;background:none;border:0;padding:0;cursor:pointer;text-align:inherit}
th button::after{content:" \\2195";color:var(--muted)}
th[aria-sort=ascending] button::after{content:" \\2191";color:var(--ink)}
th[aria-sort=descending] button::after{content:" \\2193";color:var(--ink)}
figure{margin:1rem 0;overflow-x:auto}.beside{display:flex;flex-wrap:wrap;gap:0 2rem}.beside figure{max-width:34rem}
td img{display:block}figure svg,figure img{max-width:100%;height:auto}
dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:.15em 1.2em}dl.facts dt{color:var(--muted)}
dl.facts dd{margin:0;overflow-wrap:anywhere}
code,pre{font-family:ui-monospace,monospace;font-size:.92em;background:var(--band);padding:.1em .3em}
pre{padding:.6em;overflow-x:auto}pre code{padding:0}
summary{cursor:pointer}details{margin:.5rem 0}
.controls{display:flex;flex-wrap:wrap;gap:.6em 1em;align-items:end;margin:.8rem 0}
.controls label{display:flex;flex-direction:column;font-size:.9em;color:var(--muted)}
input,select,.controls button{font:inherit;color:var(--ink);background:var(--paper);
border:1px solid var(--muted);border-radius:4px;padding:.25em .5em}
.controls button:disabled{color:var(--muted);border-style:dashed}
@media (max-width:40em){dl.facts{grid-template-columns:1fr}}
@media print{:root{--paper:#fff;--ink:#000;--muted:#333;--edge:#999;--band:#eee;--link:#000;--warn:#900;--warnband:#fff}
figure svg{filter:none}.skip,nav.contents,.controls{display:none}body{max-width:none;font-size:11pt}
h2,h3{break-after:avoid}figure,tr{break-inside:avoid}thead{display:table-header-group}table{font-size:9pt}
th,td,td.number{overflow-wrap:anywhere;white-space:normal;padding:.15em .35em}.scroll{overflow:visible}
th button::after{content:""}}
"""
