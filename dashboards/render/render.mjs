// Runs a Vestibule under load with a Prometheus beside it, and draws each dashboard from what its queries give.
// Called by `run`, which says what it needs. Every process that is started here is ended here.

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';

const [root, vestibule, work, ...only] = process.argv.slice(2);
const home = path.join(work, 'home');
// Where the daemon keeps its state when it is not told.
const STATE = 'vestibule-state';
const pictures = path.join(root, 'docs/pictures');

// Seconds of each part of the story, and of what is drawn.
const CALM = 75;
const INCIDENT = 60;
const AFTER = 30;
const SHOWN = CALM + INCIDENT + AFTER - 15;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// === What is watched ===

const freePort = () =>
  new Promise((done) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

const listen = (handler) =>
  new Promise((done) => {
    const server = http.createServer(handler).listen(0, '127.0.0.1', () => done(server));
  });

// Says of every name, on its own authority, that it is this machine; `serial` is its zones'.
const nameServer = (serial) =>
  new Promise((done) => {
    const socket = dgram.createSocket('udp4');
    socket.on('message', (asked, from) => {
      const end = asked.indexOf(0, 12) + 5;
      const type = asked.readUInt16BE(end - 4);
      const head = Buffer.alloc(12);
      asked.copy(head, 0, 0, 2);
      const record = (data) => {
        const fixed = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length]);
        return Buffer.concat([fixed, data]);
      };
      const soa = Buffer.alloc(24, Buffer.from([0, 0, 0, 60]));
      soa.set([0xc0, 12, 0xc0, 12]);
      soa.writeUInt32BE(serial(), 4);
      const data = { 1: Buffer.from([127, 0, 0, 1]), 6: soa }[type];
      head.writeUInt16BE(0x8580, 2);
      head.writeUInt16BE(1, 4);
      head.writeUInt16BE(data ? 1 : 0, 6);
      const answers = data ? record(data) : Buffer.alloc(0);
      socket.send(Buffer.concat([head, asked.subarray(12, end), answers]), from.port, from.address);
    });
    socket.bind(0, '127.0.0.1', () => done(socket.address().port));
  });

// Set while version 2 of the checkout is live.
let broken = false;

// About lognormal: most answers are quick, few are slow.
const slow = (median) => median * Math.exp(0.5 * (Math.random() + Math.random() + Math.random() - 1.5) * 2);

const origin = (median, fails) => (request, response) => {
  request.resume();
  setTimeout(() => {
    response.statusCode = fails() ? 503 : 200;
    response.end('x'.repeat(200 + Math.floor(Math.random() * 4000)));
  }, slow(median()));
};

const config = (ports, admin) => `
[generate]
sloth = true

[admin]
listen = "127.0.0.1:${admin}"

[[listener]]
name = "http"
address = "127.0.0.1:${ports.http}"

[[listener]]
name = "https"
address = "127.0.0.1:${ports.https}"
certificates = ["shop", "issued", "wanted"]

[[certificate]]
name = "shop"
chain_file = "shop.pem"
key_file = "shop-key.pem"

[revocation]
files = ["revoked.crl"]
issuers_file = "shop.pem"

# As if it had been issued; its authority does not answer now.
[[certificate]]
name = "issued"
acme = "nobody"
hosts = ["issued.example"]

[[certificate]]
name = "wanted"
acme = "nobody"
hosts = ["wanted.example"]

[[acme]]
name = "nobody"
directory = "https://127.0.0.1:1/"
accept_terms = true
preflight_every = "5s"
preflight_resolver = "127.0.0.1:1"

[dns]
enabled = true
resolvers = ["127.0.0.1:${ports.names}"]
every = "2s"

[[dns.authority]]
zone = "example"
servers = ["127.0.0.1:${ports.names}", "127.0.0.1:${ports.lagging}"]

[[upstream]]
name = "checkout"
endpoints = ["http://127.0.0.1:${ports.checkout1}", "http://127.0.0.1:${ports.checkout2}", "http://127.0.0.1:${ports.nobody}"]
breaker = { max_in_flight = 200, failure_percent = 99 }

[[upstream]]
name = "web"
endpoints = ["http://127.0.0.1:${ports.web}"]

[[route]]
id = "checkout"
hosts = ["shop.example"]
path = "/checkout"
upstream = "checkout"
owner = "team-checkout"

[[route]]
id = "web"
hosts = ["shop.example", "old.example"]
upstream = "web"
owner = "team-web"
rate_limits = ["per-client"]

[[rate_limit]]
name = "per-client"
key = "client"
rate = "50/s"
mode = "report"

[[slo]]
id = "checkout-available"
route = "checkout"
sli = "availability"
objective = "99%"
policy = "quick"

[[slo]]
id = "checkout-fast"
route = "checkout"
sli = "latency"
under = "100ms"
objective = "95%"

[[slo]]
id = "web-available"
route = "web"
sli = "availability"
objective = "99.9%"

[[policy]]
name = "quick"

[[policy.row]]
severity = "page"
tier = "fast"
long = "1m"
short = "10s"
factor = 10.0

[probes]
dir = "synthetic"

[otlp]
endpoint = "http://127.0.0.1:${ports.receiver}"
metrics.interval = "2s"

[[notify]]
name = "pager"
kind = "webhook"
url = "http://127.0.0.1:${ports.receiver}/alerts"
`;

const probes = (ports) => `
[[probe]]
name = "shop-front"
target = "http://127.0.0.1:${ports.http}/"
every = "1s"
http.headers = ["host: shop.example"]
route = "web"
compare = true

[[probe]]
name = "old-host"
target = "tcp://127.0.0.1:${ports.nobody}"
every = "2s"
`;

const children = [];
const start = (command, args, log) => {
  const out = fs.openSync(path.join(work, log), 'w');
  const child = spawn(command, args, { cwd: home, stdio: ['ignore', out, out] });
  child.log = log;
  children.push(child);
  return child;
};

const until = async (what, holds) => {
  for (let tries = 0; tries < 300; tries += 1) {
    for (const child of children) {
      if (child.exitCode !== null) {
        throw new Error(`ended: ${fs.readFileSync(path.join(work, child.log), 'utf8')}`);
      }
    }
    if (await holds().catch(() => false)) return;
    await sleep(100);
  }
  throw new Error(`${what} takes too long`);
};

const call = (...args) => {
  const run = spawnSync(vestibule, args, { cwd: home, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`vestibule ${args.join(' ')}: ${run.stderr}`);
};

// === Traffic ===

const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: false }) };

const send = (module, agent, port, host, target, body) =>
  new Promise((done) => {
    const request = module.request(
      {
        agent,
        port,
        host: '127.0.0.1',
        servername: host,
        rejectUnauthorized: false,
        path: target,
        method: body ? 'POST' : 'GET',
        headers: { host },
      },
      (response) => response.resume().on('end', done).on('error', done),
    );
    request.on('error', done);
    request.end(body);
  });

const traffic = (ports) => {
  const plain = (host, target, body) => () => send(http, agents.http, ports.http, host, target, body);
  const every = (ms, ask) => setInterval(() => ask(), ms);
  return [
    every(12, plain('shop.example', '/')),
    every(25, plain('shop.example', '/checkout/pay', 'card')),
    every(400, plain('nowhere.example', '/wp-login.php')),
    every(700, plain('shop.example', '/a%2Fb')),
    every(150, () => send(https, agents.https, ports.https, 'shop.example', '/')),
    every(900, () => send(https, agents.https, ports.https, 'unknown.example', '/')),
  ];
};

// === Asking ===

const ask = async (prometheus, target) => {
  const response = await fetch(`http://127.0.0.1:${prometheus}/api/v1/${target}`);
  const answer = await response.json();
  if (answer.status !== 'success') throw new Error(`${target}: ${JSON.stringify(answer)}`);
  return answer.data.result;
};

// What Grafana puts in for the variables, with everything chosen.
const plain = (expr) =>
  expr.replace(/\$(job|instance|route|slo)\b/g, '.*').replaceAll('$__rate_interval', '10s');

const named = (legend, labels) =>
  legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '') || JSON.stringify(labels);

const asked = async (prometheus, panel, end) => {
  const results = [];
  for (const { expr, instant, legendFormat } of panel.targets) {
    const query = `query=${encodeURIComponent(plain(expr))}`;
    const found = instant
      ? await ask(prometheus, `query?${query}&time=${end}`)
      : await ask(prometheus, `query_range?${query}&start=${end - SHOWN}&end=${end}&step=1`);
    for (const { metric, value, values } of found) {
      results.push({
        name: named(legendFormat ?? '', metric),
        labels: metric,
        values: (values ?? [value]).map(([at, text]) => [at, Number(text)]),
      });
    }
  }
  return results;
};

// === Drawing ===

// What a panel shows, so that a change of it is noticed; tests/generate/pictures.rs has the same.
const fingerprint = (board) => {
  const lines = board.panels
    .filter((panel) => panel.type !== 'row')
    .map((panel) => {
      const { x, y, w, h } = panel.gridPos;
      const exprs = panel.targets.map((target) => target.expr);
      return [panel.title, panel.type, panel.fieldConfig.defaults.unit, [x, y, w, h].join(' '), ...exprs].join('\n');
    });
  return createHash('sha256').update(lines.join('\n\n')).digest('hex');
};

const page = (board, data) => {
  const uplot = path.join(work, 'node_modules/uplot/dist');
  const script = fs.readFileSync(path.join(uplot, 'uPlot.iife.min.js'), 'utf8');
  const style = fs.readFileSync(path.join(uplot, 'uPlot.min.css'), 'utf8');
  const client = fs.readFileSync(path.join(root, 'dashboards/render/page.js'), 'utf8');
  const own = fs.readFileSync(path.join(root, 'dashboards/render/page.css'), 'utf8');
  const json = JSON.stringify({ board, data }).replaceAll('<', '\\u003c');
  return `<!doctype html><meta charset="utf-8"><style>${style}${own}</style><body><script>${script}</script>
<script>window.drawn = ${json};</script><script>${client}</script>`;
};

const WIDTH = 1280;
const ROW = 24;

const draw = async (prometheus, name, end) => {
  const board = JSON.parse(fs.readFileSync(path.join(root, `dashboards/${name}.json`), 'utf8'));
  const data = {};
  const empty = [];
  for (const panel of board.panels.filter((panel) => panel.type !== 'row')) {
    data[panel.id] = await asked(prometheus, panel, end);
    if (data[panel.id].length === 0) empty.push(panel.title);
  }
  if (empty.length > 0) throw new Error(`${name}: nothing is shown by ${empty.join(', ')}`);
  const html = path.join(work, `${name}.html`);
  fs.writeFileSync(html, page(board, data));
  const bottom = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h));
  const png = path.join(work, `${name}.png`);
  const run = spawnSync(
    'chromium',
    [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--hide-scrollbars',
      `--user-data-dir=${path.join(work, 'chromium')}`,
      `--window-size=${WIDTH},${bottom * ROW + 56}`,
      '--virtual-time-budget=3000',
      `--screenshot=${png}`,
      `file://${html}`,
    ],
    { encoding: 'utf8' },
  );
  if (run.status !== 0 || !fs.existsSync(png)) throw new Error(`chromium: ${run.stderr}`);
  const small = path.join(pictures, `${name}.png`);
  const quant = spawnSync('pngquant', ['--force', '--strip', '--speed=1', '--output', small, '48', png]);
  if (quant.status !== 0) throw new Error(`pngquant: ${quant.stderr}`);
  const bytes = fs.statSync(small).size;
  if (bytes >= 200_000) throw new Error(`${small} has ${bytes} bytes`);
  console.log(`${path.relative(root, small)}: ${Object.keys(data).length} panels, ${bytes} bytes`);
  return fingerprint(board);
};

// === The story ===

const main = async () => {
  fs.mkdirSync(path.join(home, 'synthetic'), { recursive: true });
  fs.mkdirSync(pictures, { recursive: true });
  const web = await listen(origin(() => 8, () => Math.random() < 0.0005));
  const checkout = () => origin(() => (broken ? 90 : 20), () => Math.random() < (broken ? 0.3 : 0.002));
  const [checkout1, checkout2] = [await listen(checkout()), await listen(checkout())];
  let taken = 0;
  const receiver = await listen((request, response) => {
    request.resume();
    taken += 1;
    response.statusCode = taken % 25 === 0 ? 503 : 200;
    response.end();
  });
  const port = (server) => server.address().port;
  const ports = {
    http: await freePort(),
    https: await freePort(),
    nobody: await freePort(),
    web: port(web),
    checkout1: port(checkout1),
    checkout2: port(checkout2),
    receiver: port(receiver),
    names: await nameServer(() => (broken ? 8 : 7)),
    lagging: await nameServer(() => 7),
  };
  const admin = await freePort();
  const prometheus = await freePort();
  const made = spawnSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '60', '-subj', '/CN=shop.example',
      '-addext', 'subjectAltName=DNS:shop.example', '-keyout', 'shop-key.pem', '-out', 'shop.pem'],
    { cwd: home },
  );
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr}`);
  fs.writeFileSync(path.join(home, 'ca.cnf'), '[ca]\ndefault_ca = it\n[it]\ndatabase = index.txt\ndefault_md = sha256\n');
  fs.writeFileSync(path.join(home, 'index.txt'), '');
  const list = spawnSync(
    'openssl',
    ['ca', '-config', 'ca.cnf', '-keyfile', 'shop-key.pem', '-cert', 'shop.pem', '-gencrl', '-crldays', '7', '-out', 'revoked.crl'],
    { cwd: home },
  );
  if (list.status !== 0) throw new Error(`openssl: ${list.stderr}`);
  const kept = path.join(home, STATE, 'acme/nobody');
  fs.mkdirSync(kept, { recursive: true });
  const issued = spawnSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '20', '-subj', '/CN=issued.example',
      '-addext', 'subjectAltName=DNS:issued.example', '-keyout', 'key.pem', '-out', 'chain.pem'],
    { cwd: kept },
  );
  if (issued.status !== 0) throw new Error(`openssl: ${issued.stderr}`);
  const pair = ['chain.pem', 'key.pem'].map((file) => fs.readFileSync(path.join(kept, file), 'utf8'));
  fs.writeFileSync(path.join(kept, 'issued.pem'), pair.join(''));
  fs.writeFileSync(path.join(kept, 'issued.json'), '{ "directory": "https://127.0.0.1:1/" }');
  fs.writeFileSync(path.join(home, 'vestibule.toml'), config(ports, admin));
  fs.writeFileSync(path.join(home, 'synthetic/all.toml'), probes(ports));
  call('generate', 'all');
  const scrape = path.join(home, 'alerts/prometheus.yaml');
  fs.writeFileSync(scrape, fs.readFileSync(scrape, 'utf8').replaceAll('15s', '1s'));
  for (const file of fs.readdirSync(path.join(home, 'alerts/rules'))) {
    const rules = path.join(home, 'alerts/rules', file);
    fs.writeFileSync(rules, fs.readFileSync(rules, 'utf8').replaceAll('interval: 5m', 'interval: 2s'));
  }

  start(vestibule, ['run'], 'vestibule.log');
  await until('Vestibule', async () => (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok);
  start(
    'prometheus',
    ['--config.file=alerts/prometheus.yaml', '--storage.tsdb.path=samples', `--web.listen-address=127.0.0.1:${prometheus}`],
    'prometheus.log',
  );
  await until('Prometheus', async () => (await fetch(`http://127.0.0.1:${prometheus}/-/ready`)).ok);

  const timers = traffic(ports);
  const reload = () => children[0].kill('SIGHUP');
  console.log(`calm for ${CALM} s`);
  await sleep((CALM - 10) * 1000);
  reload();
  await sleep(10_000);
  call('deploy', 'checkout', 'v2');
  broken = true;
  console.log(`an incident of ${INCIDENT} s`);
  await sleep(INCIDENT * 1000);
  call('deploy', 'checkout', 'v1');
  broken = false;
  await sleep(AFTER * 1000);
  timers.forEach(clearInterval);

  const end = Math.floor(Date.now() / 1000) - 1;
  const written = path.join(pictures, 'drawn.json');
  const drawn = fs.existsSync(written) ? JSON.parse(fs.readFileSync(written, 'utf8')) : {};
  const names = fs.readdirSync(path.join(root, 'dashboards')).filter((file) => file.endsWith('.json'));
  for (const name of names.map((file) => path.basename(file, '.json')).sort()) {
    if (only.length > 0 && !only.includes(name)) continue;
    drawn[name] = await draw(prometheus, name, end);
  }
  fs.writeFileSync(written, `${JSON.stringify(drawn, Object.keys(drawn).sort(), 2)}\n`);
};

let status = 0;
try {
  await main();
} catch (error) {
  console.error(error.message);
  status = 1;
}
for (const child of children) child.kill('SIGTERM');
await sleep(500);
for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
process.exit(status);
