// Draws one dashboard in a browser: panels by their places, lines and heatmaps with uPlot.
'use strict';

const { board, data } = window.drawn;
const WIDTH = 1280;
const ROW = 24;
const COLUMN = WIDTH / 24;
const COLORS = ['#73bf69', '#f2cc0c', '#5794f2', '#ff9830', '#f2495c', '#b877d9', '#8ab8ff', '#ffa6b0', '#37872d', '#c0d8ff'];
const NAMED = { green: '#73bf69', yellow: '#f2cc0c', red: '#f2495c', text: '#ccccdc' };

const scaled = (value, steps, units, digits = 3) => {
  let at = 0;
  let left = Math.abs(value);
  while (left >= steps && at < units.length - 1) {
    left /= steps;
    at += 1;
  }
  return `${Number((Math.sign(value) * left).toPrecision(digits))}${units[at]}`;
};

const shown = (value, unit) => {
  if (value === null || Number.isNaN(value)) return '';
  switch (unit) {
    case 'percentunit':
      return `${Number((value * 100).toPrecision(4))}%`;
    case 's': {
      const size = Math.abs(value);
      if (size !== 0 && size < 1) return size < 0.001 ? `${Number((value * 1e6).toPrecision(3))}µs` : `${Number((value * 1e3).toPrecision(3))}ms`;
      if (size >= 86400) return `${Number((value / 86400).toPrecision(3))}d`;
      if (size >= 3600) return `${Number((value / 3600).toPrecision(3))}h`;
      return size >= 60 ? `${Number((value / 60).toPrecision(3))}m` : `${Number(value.toPrecision(3))}s`;
    }
    case 'reqps':
      return `${scaled(value, 1000, ['', 'k', 'M'])}/s`;
    case 'bytes':
      return scaled(value, 1024, [' B', ' KiB', ' MiB', ' GiB']);
    case 'binBps':
      return scaled(value, 1024, [' B/s', ' KiB/s', ' MiB/s']);
    case 'dateTimeFromNow':
      return `${Math.max(0, Math.round((Date.now() - value) / 60000))} minutes ago`;
    default:
      return scaled(value, 1000, ['', 'k', 'M', 'G']);
  }
};

const colored = (panel, value) => {
  const steps = panel.fieldConfig.defaults.thresholds.steps;
  let color = steps[0].color;
  for (const step of steps) if (step.value !== null && value >= step.value) color = step.color;
  return NAMED[color] ?? color;
};

const make = (parent, tag, text, className) => {
  const element = parent.appendChild(document.createElement(tag));
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
};

const last = (series) => series.values[series.values.length - 1][1];

const stat = (panel, body, all) => {
  const box = make(body, 'div', undefined, all.length > 1 ? 'stat many' : 'stat');
  for (const series of all.slice(0, 4)) {
    const one = make(box, 'div');
    const figure = make(one, 'b', shown(last(series), panel.fieldConfig.defaults.unit));
    figure.style.color = colored(panel, last(series));
    if (panel.options.textMode === 'value_and_name') make(one, 'span', series.name);
  }
};

const bars = (panel, body, all) => {
  const box = make(body, 'div', undefined, 'bars');
  const most = Math.max(...all.map((series) => Math.abs(last(series))), 1e-9);
  for (const series of all.slice(0, 8)) {
    const bar = make(box, 'div', undefined, 'bar');
    make(bar, 'i', series.name);
    const fill = make(make(bar, 's'), 'u');
    fill.style.width = `${(Math.abs(last(series)) / most) * 100}%`;
    fill.style.background = colored(panel, last(series));
    const figure = make(bar, 'em', shown(last(series), panel.fieldConfig.defaults.unit));
    figure.style.color = colored(panel, last(series));
  }
};

const table = (panel, body, all) => {
  const hidden = panel.transformations?.[0]?.options?.excludeByName ?? {};
  const columns = Object.keys(all[0].labels).filter((label) => !hidden[label]);
  const box = make(body, 'table');
  const head = make(box, 'tr');
  columns.forEach((label) => make(head, 'th', label));
  for (const series of all.slice(0, 7)) {
    const row = make(box, 'tr');
    columns.forEach((label) => make(row, 'td', series.labels[label] ?? ''));
  }
};

const axes = (unit) => {
  const axis = { stroke: '#9d9dab', font: '10px DejaVu Sans', grid: { stroke: '#25272e', width: 1 }, ticks: { show: false } };
  return [
    { ...axis, size: 22, values: (_, times) => times.map((time) => new Date(time * 1000).toISOString().slice(11, 19)), space: 70 },
    { ...axis, size: 58, values: (_, values) => values.map((value) => shown(value, unit)) },
  ];
};

const times = (all) => [...new Set(all.flatMap((series) => series.values.map(([at]) => at)))].sort((a, b) => a - b);

const lines = (panel, body, all, key) => {
  const unit = panel.fieldConfig.defaults.unit;
  const highest = (series) => Math.max(...series.values.map(([, value]) => (Number.isFinite(value) ? value : -Infinity)));
  // More lines than colours: those that rise highest.
  const some = all.length <= COLORS.length ? all : [...all].sort((a, b) => highest(b) - highest(a)).slice(0, COLORS.length);
  const xs = times(some);
  const ys = some.map((series) => {
    const known = new Map(series.values);
    return xs.map((at) => (known.has(at) && Number.isFinite(known.get(at)) ? known.get(at) : null));
  });
  const limits = panel.fieldConfig.defaults.custom?.thresholdsStyle?.mode === 'line'
    ? panel.fieldConfig.defaults.thresholds.steps.filter((step) => step.value !== null)
    : [];
  const values = ys.flat().filter((value) => value !== null);
  let [low, high] = [Math.min(0, ...values), Math.max(...values, 1e-6)];
  // A limit that is far above everything would flatten the lines.
  for (const { value } of limits) if (value <= high * 4 && value >= low) high = Math.max(high, value);
  const plot = {
    width: body.clientWidth,
    height: body.clientHeight,
    legend: { show: false },
    cursor: { show: false },
    axes: axes(unit),
    scales: { x: { time: false, range: [xs[0], xs[xs.length - 1] + 1] }, y: { range: [low, high * 1.06] } },
    series: [{}, ...some.map((_, at) => ({ stroke: COLORS[at], width: 1, fill: `${COLORS[at]}14`, points: { show: false } }))],
    hooks: {
      draw: [
        (u) => {
          for (const { value, color } of limits) {
            if (value < low || value > high * 1.06) continue;
            const y = u.valToPos(value, 'y', true);
            u.ctx.strokeStyle = NAMED[color] ?? color;
            u.ctx.setLineDash([6, 4]);
            u.ctx.beginPath();
            u.ctx.moveTo(u.bbox.left, y);
            u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
            u.ctx.stroke();
            u.ctx.setLineDash([]);
          }
        },
      ],
    },
  };
  new uPlot(plot, [xs, ...ys], body);
  some.forEach((series, at) => {
    const entry = make(key, 'span');
    make(entry, 'b').style.background = COLORS[at];
    entry.append(series.name);
  });
};

// Cumulative buckets, as shares of the requests of each second.
const heatmap = (panel, body, all) => {
  const bound = (series) => (series.labels.le === '+Inf' ? Infinity : Number(series.labels.le));
  const sorted = [...all].sort((a, b) => bound(a) - bound(b));
  const xs = times(sorted);
  const known = sorted.map((series) => new Map(series.values));
  const cells = sorted.map((_, at) =>
    xs.map((time) => Math.max(0, (known[at].get(time) ?? 0) - (at === 0 ? 0 : known[at - 1].get(time) ?? 0))),
  );
  const most = Math.max(...cells.flat(), 1e-9);
  const step = 3;
  const plot = {
    width: body.clientWidth,
    height: body.clientHeight,
    legend: { show: false },
    cursor: { show: false },
    axes: axes('s'),
    scales: { x: { time: false, range: [xs[0], xs[xs.length - 1] + 1] }, y: { range: [0, sorted.length] } },
    series: [{}, { stroke: 'transparent', points: { show: false } }],
    hooks: {
      draw: [
        (u) => {
          cells.forEach((row, bucket) => {
            for (let at = 0; at < row.length; at += step) {
              const value = row[at] / most;
              if (value < 0.002) continue;
              const [left, right] = [u.valToPos(xs[at], 'x', true), u.valToPos(xs[at] + step, 'x', true)];
              const [bottom, top] = [u.valToPos(bucket, 'y', true), u.valToPos(bucket + 1, 'y', true)];
              u.ctx.fillStyle = `rgba(255, ${Math.round(190 - 110 * Math.sqrt(value))}, 60, ${0.15 + 0.85 * Math.sqrt(value)})`;
              u.ctx.fillRect(left, top + 1, right - left - 1, bottom - top - 1);
            }
          });
        },
      ],
    },
  };
  plot.axes[1].values = (_, places) =>
    places.map((place) => (Number.isInteger(place) && place > 0 ? (sorted[place - 1].labels.le === '+Inf' ? '∞' : shown(bound(sorted[place - 1]), 's')) : ''));
  new uPlot(plot, [xs, xs.map(() => null)], body);
};

const title = make(document.body, 'h1', board.title);
make(title, 'small', board.description);
const grid = make(document.body, 'div');
grid.id = 'grid';
for (const panel of board.panels) {
  const { x, y, w, h } = panel.gridPos;
  const place = (element) => {
    element.style.left = `${x * COLUMN}px`;
    element.style.top = `${y * ROW}px`;
    element.style.width = `${w * COLUMN}px`;
    element.style.height = `${h * ROW}px`;
  };
  if (panel.type === 'row') {
    const row = make(grid, 'div', `▾ ${panel.title}`, 'row');
    row.style.top = `${y * ROW}px`;
    continue;
  }
  const outer = make(grid, 'div', undefined, 'panel');
  place(outer);
  const box = make(outer, 'div');
  make(box, 'h2', panel.title);
  const body = make(box, 'div', undefined, 'body');
  const key = panel.type === 'timeseries' ? make(box, 'div', undefined, 'key') : undefined;
  const draw = { stat, bargauge: bars, table, timeseries: lines, heatmap }[panel.type];
  draw(panel, body, data[panel.id], key);
}
