// What a job would do, as `glassine plan` says it.

import { bytes, counted, duration, grouped, lengths, times } from "/static/amounts.js";
import { element, setTextOrHide } from "/static/elements.js";

/** Return the sentence that sums a plan up. */
export function planSentence(plan) {
  const parts = [`${times(plan.shape)} voxels`];
  if (plan.scales) parts.push(counted(plan.scales.length, "scale"));
  if (plan.blocks) parts.push(counted(plan.blocks, "block"));
  if (plan.stored_bytes_about) parts.push(`about ${bytes(plan.stored_bytes_about)}`, `about ${duration(plan.seconds_about)}`);
  return `${parts.join(", ")}.`;
}

/** Show a plan (of /api/plan) in an element. */
export function showPlan(panel, plan) {
  const rows = element("dl", {}, ...facts(plan).map(([name, text]) => row(name, text)));
  panel.replaceChildren(rows, ...(plan.scales ? [scales(plan.scales)] : []), notes(plan.notes));
}

/** Show a sentence where the plan would be. */
export function showInstead(panel, sentence) {
  const text = panel.querySelector("p.instead") ?? element("p", { class: "instead" });
  setTextOrHide(text, sentence);
  panel.replaceChildren(text);
}

function facts(plan) {
  const channels = plan.num_channels > 1 ? `, ${plan.num_channels} channels` : "";
  return [
    ...(plan.scale ? [["Scale", plan.scale]] : []),
    ["Shape", `${times(plan.shape)} voxels${channels}`],
    ["Voxel", lengths(plan.resolution)],
    ...(plan.encoding ? writtenFacts(plan) : []),
    ...(plan.max_error ? [["Error", `at most ${lengths([plan.max_error])}`], ["Details", counted(plan.lods, "level")]] : []),
    ...(plan.blocks ? [["Blocks", `${grouped(plan.blocks)} of ${times(plan.block_size)}`]] : []),
    ...(plan.unpacked_bytes > 0 ? [["Beside it", `${bytes(plan.unpacked_bytes)} while it is converted`]] : []),
    ...(plan.seconds_about ? [["Time", `about ${duration(plan.seconds_about)}`]] : []),
    ["Memory", `at most ${bytes(plan.memory_bytes)}, ${counted(plan.workers, "worker")}`],
  ];
}

/** Return what is written of a plan that knows it. */
function writtenFacts(plan) {
  const type = plan.source_dtype === plan.data_type ? plan.data_type : `${plan.source_dtype} → ${plan.data_type}`;
  return [
    ["Type", `${plan.type}, ${type}`],
    ["Written as", `${plan.encoding}, ${plan.layout}`],
    ["Chunks", `${grouped(plan.chunks)} of ${times(plan.scales[0].chunk_size)}`],
    ["On disk", `about ${bytes(plan.stored_bytes_about)} in ${grouped(plan.files_about)} files`],
  ];
}

const row = (name, text) => element("div", {}, element("dt", {}, name), element("dd", {}, text));

function scales(all) {
  const heads = ["Scale", "Voxels"].map((text) => element("th", { scope: "col" }, text));
  const rows = all.map(({ resolution, size }) => element("tr", {},
    element("th", { scope: "row" }, lengths(resolution)), element("td", {}, times(size))));
  return element("table", {}, element("caption", { class: "unseen" }, "Scales"),
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
}

function notes(sentences) {
  return element("ul", { class: "notes", hidden: sentences.length === 0 }, ...sentences.map((text) => element("li", {}, text)));
}
