// Draws one dashboard's JSON from a real Prometheus. Development only, and not Grafana: it knows
// the panels, units and transformations that our dashboards use, and stops at anything else.

const parameters = new URLSearchParams(location.search);
const dark = parameters.get('theme') === 'dark';
const minutes = Number(parameters.get('minutes') ?? 10);
const prometheus = parameters.get('prometheus');
const CELL = 30, GAP = 8;
const COLORS = ['#73bf69', '#f2cc0c', '#5794f2', '#ff780a', '#e02f44', '#b877d9', '#37872d', '#8ab8ff',
  '#c4162a', '#806eb7', '#56a64b', '#fade2a'];
const MARKS = { green: '#56a64b', yellow: '#e0a400', red: '#e02f44', text: null };

document.documentElement.classList.toggle('dark', dark);
const dashboard = await (await fetch(`/dashboards/${parameters.get('uid')}.json`)).json();
const variables = dashboard.templating.list.filter((variable) => variable.type === 'query');
const chosen = Object.fromEntries(
  variables.map(({ name, allValue }) => [name, parameters.get(`var-${name}`) ?? allValue]));
const end = Math.floor(Date.now() / 1000);
const step = Math.max(1, Math.round(minutes * 60 / 200));
const builtin = { __rate_interval: `${Math.max(10, 4 * step)}s`, __interval: `${step}s`, __range: `${minutes}m` };

function fill(expr) {
  return expr.replace(/\$(\w+)/g, (_, name) => {
    const value = builtin[name] ?? chosen[name];
    if (value === undefined) throw new Error(`unknown variable ${name}`);
    return builtin[name] ? value : value.replaceAll('\\', '\\\\');
  });
}

async function ask(target) {
  const query = { query: fill(target.expr) };
  const range = { start: end - minutes * 60, end, step };
  const url = target.instant ? 'query' : 'query_range';
  const words = new URLSearchParams(target.instant ? { ...query, time: end } : { ...query, ...range });
  const answer = await (await fetch(`${prometheus}/api/v1/${url}?${words}`)).json();
  if (answer.status !== 'success') throw new Error(`${answer.error}: ${query.query}`);
  return answer.data.result;
}

function legend(target, metric) {
  if (target.legendFormat === '__auto') return JSON.stringify(metric);
  return target.legendFormat.replace(/{{\s*(\w+)\s*}}/g, (_, label) => metric[label] ?? '').replace(/\s+/g, ' ').trim();
}

function scaled(value, base, names) {
  let n = 0;
  while (Math.abs(value) >= base && n < names.length - 1) { value /= base; n += 1; }
  return [value, names[n]];
}

function short(value, digits) {
  if (digits !== undefined) return value.toFixed(digits);
  return String(Number(value.toPrecision(3)));
}

const UNITS = {
  none: (v, d) => short(v, d),
  percentunit: (v, d) => `${short(v * 100, d ?? (Math.abs(v) < 0.1 ? undefined : 0))}%`,
  bytes: (v, d) => { const [n, u] = scaled(v, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']); return `${short(n, d)} ${u}`; },
  Bps: (v, d) => { const [n, u] = scaled(v, 1000, ['B/s', 'kB/s', 'MB/s', 'GB/s']); return `${short(n, d)} ${u}`; },
  s: (v, d) => (Math.abs(v) < 1 ? `${short(v * 1000, d)} ms` : `${short(v, d)} s`),
  ops: (v, d) => `${short(v, d)} ops/s`,
  iops: (v, d) => `${short(v, d)} io/s`,
  pps: (v, d) => `${short(v, d)} p/s`,
};

function format(value, unit, decimals) {
  if (!UNITS[unit]) throw new Error(`unknown unit ${unit}`);
  if (value === Infinity) return '∞';
  return Number.isFinite(value) ? UNITS[unit](value, decimals) : '';
}

function mark(value, steps) {
  let color = steps[0].color;
  for (const each of steps) if (each.value !== null && value >= each.value) color = each.color;
  return MARKS[color];
}

function element(kind, name, text) {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function none(body, panel) {
  body.append(element('div', 'none', panel.fieldConfig.defaults.noValue));
  body.parentElement.dataset.empty = 'yes';
}

function graph(body, panel, answers) {
  const { unit, max, custom, thresholds, decimals } = panel.fieldConfig.defaults;
  const dashed = new Set(panel.fieldConfig.overrides.map((each) => each.matcher.options));
  const lines = answers.flatMap((series, n) => series.map((each) => ({ target: panel.targets[n], ...each })));
  if (!lines.length) { none(body, panel); return; }
  const stacked = custom.stacking.mode === 'normal';
  const palette = lines.map((_, n) => COLORS[n % COLORS.length]);
  const times = [];
  for (let t = end - minutes * 60; t <= end; t += step) times.push(t);
  const series = lines.map((line, n) => {
    const at = new Map(line.values.map(([t, v]) => [Math.round(t), Number(v)]));
    const limit = dashed.has(line.target.refId);
    return {
      name: String(n), type: 'line', showSymbol: false, color: palette[n], animation: false,
      stack: stacked && !limit ? 'A' : undefined,
      lineStyle: { width: limit ? 2 : 1.2, type: limit ? 'dashed' : 'solid' },
      areaStyle: limit ? undefined : { opacity: custom.fillOpacity / 100 },
      data: times.map((t) => [t * 1000, at.get(t) ?? null]),
    };
  });
  if (custom.thresholdsStyle.mode === 'dashed') {
    series[0].markLine = {
      silent: true, symbol: 'none', label: { show: false }, animation: false,
      data: thresholds.steps.filter((each) => each.value !== null).map((each) => (
        { yAxis: each.value, lineStyle: { color: MARKS[each.color], type: [8, 6], width: 1 } })),
    };
  }
  const chart = element('div', 'chart');
  body.append(chart);
  const table = element('table', 'legend');
  const wrap = element('div', 'legend');
  wrap.append(table);
  const last = (line) => Number(line.values.at(-1)[1]);
  const most = (line) => Math.max(...line.values.map(([, v]) => Number(v)).filter(Number.isFinite));
  table.innerHTML = '<tr><th></th><th class="number">last</th><th class="number">max</th></tr>';
  lines.map((line, n) => [line, n]).sort(([a], [b]) => last(b) - last(a)).slice(0, 4).forEach(([line, n]) => {
    const row = element('tr');
    const cell = element('td');
    const swatch = element('span', 'swatch');
    swatch.style.background = palette[n];
    cell.append(swatch, legend(line.target, line.metric));
    row.append(cell, element('td', 'number', format(last(line), unit, decimals)), element('td', 'number', format(most(line), unit, decimals)));
    table.append(row);
  });
  if (panel.options.legend.showLegend) body.append(wrap);
  const style = getComputedStyle(document.documentElement);
  const ink = { color: style.getPropertyValue('--weak'), fontSize: 10, hideOverlap: true };
  const rule = { lineStyle: { color: style.getPropertyValue('--line') } };
  const highest = Math.max(...lines.map(most));
  echarts.init(chart, null, { renderer: 'canvas' }).setOption({
    animation: false, series,
    grid: { left: 62, right: 14, top: 8, bottom: 22 },
    xAxis: { type: 'time', axisLabel: ink, axisLine: rule, splitLine: { show: false } },
    yAxis: {
      type: 'value', axisLabel: { ...ink, formatter: (v) => format(v, unit) }, splitLine: rule,
      max: max !== undefined && highest > max / 2 ? max : undefined,
    },
  });
}

function stat(body, panel, answers) {
  const { unit, decimals, thresholds } = panel.fieldConfig.defaults;
  const values = answers.flatMap((series, n) => series.map((each) => [legend(panel.targets[n], each.metric), Number(each.value[1])]));
  if (!values.length) { none(body, panel); return; }
  const box = element('div', 'stats');
  for (const [name, value] of values) {
    const one = element('div');
    const number = element('b', '', format(value, unit, decimals));
    number.style.color = mark(value, thresholds.steps) ?? '';
    one.append(number);
    if (values.length > 1) one.append(element('small', '', name));
    box.append(one);
  }
  body.append(box);
}

function bars(body, panel, answers) {
  const { unit, max, thresholds } = panel.fieldConfig.defaults;
  const values = answers.flatMap((series, n) => series.map((each) => [legend(panel.targets[n], each.metric), Number(each.value[1])]));
  if (!values.length) { none(body, panel); return; }
  for (const [name, value] of values.sort((a, b) => b[1] - a[1])) {
    const line = element('div', 'bar');
    const back = element('i');
    const front = element('b');
    const color = mark(value, thresholds.steps);
    front.style.cssText = `width:${Math.min(100, 100 * value / max)}%;background:${color}`;
    back.append(front);
    const number = element('span', '', format(value, unit));
    number.style.color = color;
    line.append(element('span', '', name), back, number);
    body.append(line);
  }
}

// What the transformations merge, filterFieldsByName and organize do to answers as tables.
function table(body, panel, answers) {
  const { include } = panel.transformations.find((each) => each.id === 'filterFieldsByName').options;
  const { renameByName } = panel.transformations.find((each) => each.id === 'organize').options;
  const letters = new Map(answers.map((_, n) => [n, answers.length > 1 ? `Value #${panel.targets[n].refId}` : 'Value']));
  let rows = [];
  answers.forEach((series, n) => {
    for (const { metric, value } of series) {
      const shared = (row) => Object.keys(metric).filter((label) => label in row && !label.startsWith('Value'));
      const found = rows.filter((row) => shared(row).length > 0 && shared(row).every((label) => row[label] === metric[label]) && !(letters.get(n) in row));
      if (!found.length) { rows.push({}); found.push(rows.at(-1)); }
      for (const row of found) Object.assign(row, metric, { [letters.get(n)]: Number(value[1]) });
    }
  });
  const [sort] = panel.options.sortBy;
  const key = sort && Object.keys(renameByName).find((name) => renameByName[name] === sort.displayName);
  if (key) rows.sort((a, b) => (b[key] ?? -1) - (a[key] ?? -1));
  if (!rows.length) { none(body, panel); return; }
  const overrides = Object.fromEntries(panel.fieldConfig.overrides.map((each) => [
    each.matcher.options, Object.fromEntries(each.properties.map((p) => [p.id, p.value]))]));
  const made = element('table', 'rows');
  const head = element('tr');
  const names = include.names.filter((name) => rows.some((row) => row[name] !== undefined));
  for (const name of names) head.append(element('th', name.startsWith('Value') ? 'number' : '', renameByName[name]));
  made.append(head);
  for (const row of rows) {
    const line = element('tr');
    for (const name of names) {
      const settings = overrides[renameByName[name]] ?? {};
      const value = row[name];
      const numeric = typeof value === 'number';
      const cell = element('td', numeric ? 'number' : '', numeric ? format(value, settings.unit ?? 'none', settings.decimals) : value ?? '');
      if (numeric && settings.thresholds) cell.style.color = mark(value, settings.thresholds.steps) ?? '';
      line.append(cell);
    }
    made.append(line);
  }
  body.append(made);
}

const DRAW = { timeseries: graph, stat, bargauge: bars, table };
document.querySelector('#name').textContent = dashboard.title;
document.querySelector('#chosen').textContent = variables
  .map(({ name, label }) => `${label}: ${parameters.get(`var-${name}`)?.replaceAll('|', ', ') ?? 'All'}`).join('   ');
const grid = document.querySelector('#grid');
const column = (grid.clientWidth + GAP) / 24;
let bottom = 0;
await Promise.all(dashboard.panels.map(async (panel) => {
  const { x, y, w, h } = panel.gridPos;
  const box = element('section', panel.type === 'row' ? 'row' : 'panel');
  const height = h * (CELL + GAP) - GAP;
  box.style.cssText = `left:${x * column}px;top:${y * (CELL + GAP)}px;width:${w * column - GAP}px;height:${height}px`;
  bottom = Math.max(bottom, y * (CELL + GAP) + height);
  grid.append(box);
  if (panel.type === 'row') { box.textContent = panel.title; return; }
  box.title = panel.description;
  box.append(element('div', 'title', panel.title));
  const body = element('div', 'body');
  box.append(body);
  DRAW[panel.type](body, panel, await Promise.all(panel.targets.map(ask)));
}));
grid.style.height = `${bottom}px`;

const boxes = [...document.querySelectorAll('.panel, .row')];
const overlaps = boxes.flatMap((a, n) => boxes.slice(n + 1).filter((b) => {
  const [p, q] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
  return p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom;
}).map((b) => `${a.innerText.slice(0, 30)} / ${b.innerText.slice(0, 30)}`));
const name = (box) => box.querySelector('.title').textContent;
window.report = {
  overlaps,
  empty: boxes.filter((box) => box.dataset.empty).map(name),
  cut: boxes.filter((box) => box.matches('.panel')).filter((box) => {
    const title = box.querySelector('.title');
    return title.scrollWidth > title.clientWidth;
  }).map(name),
};
