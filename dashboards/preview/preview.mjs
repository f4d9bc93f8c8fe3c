// Serves the preview, or takes pictures of it with Debian's Chromium:
//
//     node preview.mjs PROMETHEUS            says where to look
//     node preview.mjs PROMETHEUS DIRECTORY  one PNG for each dashboard, light and dark
//
// With PREVIEW_MINUTES for another time range than the last ten minutes.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const [prometheus, directory] = process.argv.slice(2);
if (!prometheus) {
  console.error('usage: node preview.mjs PROMETHEUS [DIRECTORY]');
  process.exit(2);
}
const minutes = process.env.PREVIEW_MINUTES ?? '10';
const TYPES = { html: 'text/html', js: 'text/javascript', json: 'application/json' };
const both = 'docker-1:9753|kubernetes-1:9753';
const names = 'main|web|worker|db|api|cache|forker';
// What each picture shows: the hosts of tests/tools/sickbay.py.
const CHOICES = {
  'cgexporter-node': { 'var-instance': both },
  'cgexporter-container': { 'var-instance': both, 'var-container': names },
  'cgexporter-pressure': { 'var-instance': both },
  'cgexporter-docker': { 'var-instance': 'docker-1:9753', 'var-container': names },
  'cgexporter-qos': { 'var-instance': 'kubernetes-1:9753' },
  'cgexporter-exporter': { 'var-instance': both },
};

const server = createServer(async (request, response) => {
  const path = normalize(new URL(request.url, 'http://localhost').pathname);
  const file = path === '/' ? join(here, 'index.html')
    : path === '/echarts.js' ? join(here, 'node_modules/echarts/dist/echarts.min.js')
      : path.startsWith('/dashboards/') ? join(here, '..', path.slice('/dashboards/'.length))
        : join(here, path);
  try {
    const content = await readFile(file);
    response.writeHead(200, { 'Content-Type': TYPES[file.split('.').at(-1)] ?? 'text/plain' });
    response.end(content);
  } catch {
    response.writeHead(404);
    response.end();
  }
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const origin = `http://127.0.0.1:${server.address().port}`;

function address(uid, theme) {
  return `${origin}/?${new URLSearchParams({ uid, theme, prometheus, minutes, ...CHOICES[uid] })}`;
}

if (!directory) {
  for (const uid of Object.keys(CHOICES)) console.log(address(uid, 'light'));
} else {
  const { launch } = await import('puppeteer-core');
  const browser = await launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'],
  });
  let bad = 0;
  for (const uid of Object.keys(CHOICES)) {
    for (const theme of ['light', 'dark']) {
      const page = await browser.newPage();
      page.on('pageerror', (error) => { console.error(`${uid}: ${error.message}`); bad += 1; });
      await page.setViewport({ width: 1440, height: 900 });
      await page.goto(address(uid, theme));
      await page.waitForFunction('window.report', { timeout: 60000 });
      const { overlaps, empty, cut } = await page.evaluate('window.report');
      for (const [what, found] of Object.entries({ overlaps, empty, cut })) {
        if (found.length) { console.error(`${uid}: ${what}: ${found.join('; ')}`); bad += 1; }
      }
      await page.screenshot({ path: join(directory, `${uid.replace('cgexporter-', '')}-${theme}.png`), fullPage: true });
      await page.close();
    }
  }
  await browser.close();
  server.close();
  process.exitCode = bad ? 1 : 0;
}
