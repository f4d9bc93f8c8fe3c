// Writes tests/data/grafana: the form of classic dashboards as JSON Schema, from the types that
// Grafana publishes, and the identifiers of units, from the list that its panels use.
//
//     cd tests/tools/grafana && npm ci && node extract.mjs

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { JSDOM } from 'jsdom';
import { createGenerator } from 'ts-json-schema-generator';

const here = dirname(fileURLToPath(import.meta.url));
const data = join(here, '../../data/grafana');

// Kind of panel → file of its types, as each release lays them out.
const PANELS = {
  bargauge: 'BarGauge',
  stat: 'Stat',
  table: 'Table',
  text: 'Text',
  timeseries: 'TimeSeries',
};
// Release → where its types begin, for what they import from their own package.
const RELEASES = { 11: 'dist/index.d.ts', 12: 'dist/types/index.d.ts' };
const RAW = {
  11: {
    dashboard: 'dist/esm/raw/dashboard/x/dashboard_types.gen',
    panel: (kind) => `dist/esm/raw/composable/${kind}/panelcfg/x/${PANELS[kind]}PanelCfg_types.gen`,
  },
  12: {
    dashboard: 'dist/types/raw/dashboard/x/types.gen',
    panel: (kind) => `dist/types/raw/composable/${kind}/panelcfg/x/types.gen`,
  },
};
// These have no settings of a field beyond those of all panels.
const WITHOUT_FIELD_SETTINGS = new Set(['bargauge', 'stat', 'text']);

// One schema for each root: `Options` is another type in each panel's file.
function schemas(release) {
  const types = `./node_modules/grafana-schema-${release}`;
  const { dashboard, panel } = RAW[release];
  const roots = { dashboard: `export type { Dashboard as dashboard } from '${types}/${dashboard}';` };
  for (const kind of Object.keys(PANELS)) {
    const from = (name, as) => `export type { ${name} as ${as} } from '${types}/${panel(kind)}';`;
    roots[`${kind}_options`] = from('Options', `${kind}_options`);
    if (!WITHOUT_FIELD_SETTINGS.has(kind)) roots[`${kind}_custom`] = from('FieldConfig', `${kind}_custom`);
  }
  const entry = join(here, `entry-${release}.ts`);
  const tsconfig = join(here, `tsconfig-${release}.json`);
  const compilerOptions = {
    module: 'esnext',
    moduleResolution: 'bundler',
    strict: true,
    paths: { '@grafana/schema': [`${types}/${RELEASES[release]}`] },
  };
  writeFileSync(tsconfig, JSON.stringify({ compilerOptions, files: [entry] }));
  try {
    return Object.entries(roots).map(([root, line]) => {
      writeFileSync(entry, line.replace(` as ${root}`, '') + '\n');
      const settings = { path: entry, tsconfig, expose: 'export', additionalProperties: false };
      const type = /{ (\w+)/.exec(line)[1];
      return [root, bare(createGenerator({ ...settings, type }).createSchema(type))];
    });
  } finally {
    rmSync(entry);
    rmSync(tsconfig);
  }
}

// The descriptions are Grafana's documentation, which no check needs.
function bare(value) {
  if (Array.isArray(value)) return value.map(bare);
  if (value === null || typeof value !== 'object') return value;
  const described = typeof value.description === 'string';
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !(key === 'description' && described))
      .map(([key, inner]) => [key, bare(inner)]),
  );
}

function write(name, content) {
  mkdirSync(data, { recursive: true });
  writeFileSync(join(data, name), JSON.stringify(content, null, 1) + '\n');
}

function version(name) {
  return JSON.parse(readFileSync(join(here, 'node_modules', name, 'package.json'))).version;
}

async function units() {
  const { window } = new JSDOM('');
  globalThis.window = window;
  globalThis.document = window.document;
  globalThis.HTMLElement = window.HTMLElement;
  globalThis.localStorage = { getItem: () => null, setItem: () => {} };
  Object.defineProperty(globalThis, 'navigator', { value: window.navigator, configurable: true });
  const { createRequire } = await import('node:module');
  const { getValueFormats } = createRequire(import.meta.url)('@grafana/data');
  return getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value));
}

for (const release of Object.keys(RELEASES)) {
  write(`dashboard-${release}.json`, {
    $comment: `@grafana/schema ${version(`grafana-schema-${release}`)}, Apache-2.0, by tests/tools/grafana`,
    ...Object.fromEntries(schemas(release)),
  });
}
write('units.json', {
  $comment: `@grafana/data ${version('@grafana/data')}, Apache-2.0, by tests/tools/grafana`,
  units: (await units()).sort(),
});
