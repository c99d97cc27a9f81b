//! The map as one self-contained page: the picture, what its colours mean, and the command of whatever is pointed at.

use super::svg::{escape, svg};
use engine::look::map::Map;

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>
body{margin:0;background:#f7f9fb;color:#1c2733;font:14px system-ui,sans-serif}
header{position:sticky;top:0;background:#fff;border-bottom:1px solid #d5dee7;padding:10px 20px;display:flex;gap:24px;align-items:baseline;flex-wrap:wrap}
h1{font-size:16px;margin:0}
#hint{font:13px ui-monospace,Menlo,Consolas,monospace;background:#eef3f8;padding:4px 10px;border-radius:4px;white-space:pre-wrap}
.key i{display:inline-block;width:12px;height:12px;border-radius:3px;margin:0 4px 0 12px;vertical-align:-1px}
svg g:hover{cursor:pointer}
</style>"#;

const SCRIPT: &str = r"<script>
const hint = document.getElementById('hint');
const follow = () => document.querySelectorAll('svg g').forEach(g => {
  const title = g.querySelector('title');
  if (!title) return;
  const show = () => { hint.textContent = title.textContent; };
  g.addEventListener('mouseenter', show);
  g.addEventListener('click', show);
});
follow();
</script>";

/// Asks for the picture every second, and changes it where it has changed.
const LIVE: &str = r"<script>
const live = document.getElementById('live');
let last = '';
const again = async () => {
  try {
    const answer = await fetch('/map.svg', { cache: 'no-store' });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    if (text !== last) {
      last = text;
      const picture = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;
      document.querySelector('svg').replaceWith(document.importNode(picture, true));
      follow();
    }
    live.textContent = 'live';
  } catch (error) {
    live.textContent = 'no answer: this is how it was';
  }
  setTimeout(again, 1000);
};
again();
</script>";

/// As it is now; `live`: it asks whoever serves it how it goes on.
pub fn page(map: &Map, live: bool) -> String {
    let name = escape(&map.host.name);
    let count = map.containers.len();
    let svg = svg(map);
    let scripts = "script-src 'unsafe-inline'";
    let asks = if live { format!("{scripts}; connect-src 'self'") } else { scripts.to_owned() };
    let head = HEAD.replace(scripts, &asks);
    format!(
        "{head}<title>corten map: {name}</title></head><body>\n<header><h1>{count} container{} on {name}</h1>\
         <span class=\"key\">namespaces:<i style=\"background:#cdebd5\"></i>its own<i style=\"background:#ffe3b0\"></i>shared\
         <i style=\"background:#ffd0cc\"></i>this machine's</span>\
         {}<span id=\"hint\">point at a thing: here is the command that shows it by hand</span></header>\n{svg}{SCRIPT}{}</body></html>\n",
        if count == 1 { "" } else { "s" },
        if live { "<span id=\"live\">live</span>" } else { "" },
        if live { LIVE } else { "" },
    )
}
