// The independent side of tests/dev/hlog-check: hdr-histogram-js reads a log, or writes one.
// Usage: node hlog-check.js dump LOG | node hlog-check.js write LOG
"use strict";
const fs = require("fs");
const path = require("path");
const hdr = require(path.join(process.env.HLOG_MODULES, "node_modules", "hdr-histogram-js"));

const [, , verb, file] = process.argv;
const HOUR = 3600e9;

function dump() {
  const out = [];
  const text = fs.readFileSync(file, "utf8");
  const base = /^#\[BaseTime: ([\d.]+)/m.exec(text);
  if (base) out.push(`base ${Math.round(Number(base[1]) * 1000)}`);
  // 64-bit counts: doubles, exact to 2^53.
  const reader = new hdr.HistogramLogReader(text, 64);
  for (let h; (h = reader.nextIntervalHistogram()) !== null; ) {
    const tag = h.tag === "NO TAG" ? "" : decodeURIComponent(h.tag);
    const baseMs = base ? Number(base[1]) * 1000 : 0;
    out.push(`tag ${tag}`);
    out.push(`start ${Math.round(h.startTimeStampMsec - baseMs)}`);
    out.push(`length ${Math.round(h.endTimeStampMsec - h.startTimeStampMsec)}`);
    out.push(`total ${h.totalCount}`);
    if (!tag.startsWith("foreign")) {
      out.push(`max ${h.totalCount === 0 ? 0 : h.maxValue}`);
      out.push(`mean ${h.mean.toFixed(3)}`);
      for (const q of [0, 0.07, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1])
        out.push(`q${q} ${h.totalCount === 0 ? 0 : h.getValueAtPercentile(q * 100)}`);
    }
    for (let i = 0; i < h.countsArrayLength; i++)
      if (h.getCountAtIndex(i) > 0) out.push(`bucket ${h.valueFromIndex(i)} ${h.getCountAtIndex(i)}`);
  }
  process.stdout.write(out.join("\n") + "\n");
}

// Park and Miller's minimal standard: the same numbers everywhere.
let state = 7;
function random(bound) {
  state = (state * 48271) % 2147483647;
  return Math.floor((state / 2147483647) * bound);
}

function write() {
  const lines = [];
  const writer = new hdr.HistogramLogWriter((line) => lines.push(line));
  const startMs = 1700000000000;
  writer.baseTime = startMs;
  writer.outputComment("written by hdr-histogram-js for punchbench's tests");
  writer.outputLogFormatVersion();
  writer.outputStartTime(startMs);
  writer.outputComment(`[BaseTime: ${(startMs / 1000).toFixed(3)} (seconds since epoch)]`);
  writer.outputLegend();
  const interval = (tag, request, fill) => {
    const h = hdr.build({ bitBucketSize: 64, autoResize: false, lowestDiscernibleValue: 1,
                          highestTrackableValue: HOUR, numberOfSignificantValueDigits: 3, ...request });
    fill(h);
    h.tag = tag;
    h.startTimeStampMsec = startMs + 250 * lines.length;
    h.endTimeStampMsec = h.startTimeStampMsec + 1000;
    writer.outputIntervalHistogram(h, undefined, undefined, 1e6);
  };
  const spread = (n) => (h) => {
    for (let i = 0; i < n; i++) h.recordValue(1000 + Math.floor(Math.pow(10, random(1000) / 155) * (1 + random(1000))));
  };
  interval("empty", {}, () => {});
  interval("one", {}, (h) => h.recordValue(40000000));
  interval("max", {}, (h) => h.recordValue(HOUR));
  interval("counts", {}, (h) => {
    for (let bit = 0; bit < 48; bit++) h.recordValueWithCount(1000 + 1000 * bit, Math.pow(2, bit));
  });
  interval("corrected", {}, (h) => h.recordValueWithExpectedInterval(1000000000, 10000000));
  interval("random", {}, spread(2000));
  interval(undefined, {}, spread(100));
  interval("resized", { autoResize: true, highestTrackableValue: 2 }, spread(300));
  interval("foreign-2-digits", { numberOfSignificantValueDigits: 2 }, spread(300));
  interval("foreign-microseconds", { lowestDiscernibleValue: 1000 }, spread(300));
  fs.writeFileSync(file, lines.join(""));
}

if (verb === "dump") dump();
else if (verb === "write") write();
else process.exit(1);
