'use strict';
// Everything that comes from rows is put into the page as text (textContent), never as markup.
(() => {
  const at = id => document.getElementById(id);
  const make = (name, cls, text) => {
    const node = document.createElement(name);
    if (cls) node.className = cls;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const drawn = (name, attributes) => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const whole = n => n.toLocaleString('en-US');
  const short = n => n === null || n === undefined ? 'none'
    : Number.isInteger(n) ? (Math.abs(n) < 1e15 ? whole(n) : n.toExponential(3)) : String(Number(n.toPrecision(6)));

  const ask = async (what, body) => {
    const reply = await fetch(what, body === undefined ? {} : {
      method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body),
    });
    const answer = await reply.json();
    if (!reply.ok) throw new Error(answer.problem || reply.statusText);
    return answer;
  };
  const say = (text, bad) => { at('said').textContent = text; at('said').className = bad ? 'bad' : ''; };

  let facts;
  const moved = new Map();   // 'step.param' to {step, param, value}: bounds that are not as stored
  const knobs = [];
  const charts = [];
  const steps = [];
  let last;                  // the knob that was touched last
  const bounds = () => [...moved.values()];

  // One question of a kind is under way at a time; of those that come meanwhile the last is asked.
  const latest = run => {
    let busy = false, again = false;
    const go = async () => {
      if (busy) { again = true; return; }
      busy = true;
      try { await run(); } catch (error) { say(error.message, true); }
      busy = false;
      if (again) { again = false; go(); }
    };
    return go;
  };

  const card = (row, cls) => {
    const item = make('li', 'card ' + (cls || ''));
    for (const picture of row.pictures) {
      if (picture.address) {
        const image = make('img');
        image.src = picture.address;
        image.width = picture.width;
        image.height = picture.height;
        image.alt = (row.text || '').slice(0, 80);
        item.append(image);
      } else item.append(make('div', 'none', 'no picture: ' + picture.problem));
    }
    if (row.more) item.append(make('div', 'none', row.more + ' more images'));
    if (row.value !== null) item.append(make('div', 'value', short(row.value)));
    if (row.reason) item.append(make('div', 'none', row.reason));
    if (row.text !== null) item.append(make('div', 'text', row.text));
    else item.append(make('div', 'none', row.read ? 'no text' : 'the row is not shown'));
    const place = [row.id === null ? '' : 'id ' + row.id, row.file || '', 'line ' + whole(row.line)];
    item.append(make('div', 'place', place.filter(Boolean).join(' · ')));
    item.title = row.stats.map(([name, value]) => name + ': ' + value).join('\n');
    return item;
  };

  const draw = (chart, counts) => {
    const {edges} = chart.facts;
    const bars = edges.length - 1;
    const [kept, lost] = counts;
    const most = Math.max(1, ...kept.map((n, i) => n + lost[i]));
    const nodes = [];
    const all = bars + 2;
    kept.forEach((n, i) => {
      const x = i * 1000 / all, width = 1000 / all * 0.9;
      const high = n / most * 92, more = lost[i] / most * 92;
      if (n) nodes.push(drawn('rect', {class: 'kept', x, width, y: 96 - high, height: high}));
      if (lost[i]) nodes.push(drawn('rect', {class: 'lost', x, width, y: 96 - high - more, height: more}));
    });
    for (const knob of chart.knobs) {
      const value = knob.now();
      if (value === null || value < edges[0] || value > edges[bars]) continue;
      const x = (1 + (value - edges[0]) / (edges[bars] - edges[0]) * bars) * 1000 / all;
      nodes.push(drawn('line', {class: 'mark', x1: x, x2: x, y1: 0, y2: 96}));
    }
    chart.svg.replaceChildren(...nodes);
  };

  const cut = latest(async () => {
    const start = performance.now();
    const answer = await ask('cut', {bounds: bounds()});
    at('left').textContent = whole(answer.left);
    at('left').dataset.ms = (performance.now() - start).toFixed(1);
    const copies = answer.steps.reduce((sum, step) => sum + step.repeated, 0);
    at('of').textContent = 'of ' + whole(facts.rows) + ' rows' + (copies ? ' and ' + whole(copies) + ' copies' : '') + ' reach the outputs';
    const caveats = [];
    if (answer.refused) caveats.push(whole(answer.refused) + ' of them were refused by an output');
    if (answer.unreadable) caveats.push(whole(answer.unreadable) + ' rows could not be read');
    if (answer.unknown) caveats.push(whole(answer.unknown) + ' rows ended before all their stats were measured and are not counted: analyze for all');
    if (answer.unsure !== null) caveats.push('what ' + facts.steps[answer.unsure].op + ' makes of other rows is not known here: djr recut tells');
    at('caveat').textContent = caveats.join('; ');
    answer.steps.forEach((step, i) => {
      const parts = [whole(step.reach) + ' in'];
      if (step.aside) parts.push(whole(step.aside) + ' set aside');
      if (step.repeated) parts.push(whole(step.repeated) + ' repeated');
      if (step.unknown) parts.push(whole(step.unknown) + ' unknown');
      steps[i].replaceChildren(parts.join(', ') + ', ', make('b', '', whole(step.dropped) + ' dropped'));
    });
    for (const found of answer.found) {
      for (const knob of knobs) {
        if (knob.step === found.step && knob.facts.param === found.param) knob.found = found.value;
      }
    }
    knobs.forEach(knob => knob.show());
    answer.charts.forEach((counts, i) => draw(charts[i], counts));
    if (moved.size) say(bounds().map(b => facts.steps[b.step].op + '.' + b.param + ': ' + short(b.value)).join(', '));
    else say('');
  });

  const near = latest(async () => {
    const knob = last;
    if (!knob || facts.hidden) return;
    const answer = await ask('near', {bounds: bounds(), step: knob.step, param: knob.facts.param});
    const list = (title, rows, cls) => {
      if (!rows.length) return [];
      const cards = make('ul', 'cards');
      cards.append(...rows.map(row => card(row, cls)));
      return [make('h3', '', title), cards];
    };
    for (const chart of charts) if (chart !== knob.chart) chart.near.replaceChildren();
    knob.chart.near.replaceChildren(
      ...list('Nearest to ' + knob.facts.param + ', kept', answer.kept, 'kept'),
      ...list('Nearest to ' + knob.facts.param + ', dropped', answer.dropped, 'lost'));
  });

  const turn = (knob, value) => {
    const key = knob.step + '.' + knob.facts.param;
    if (value === knob.facts.value && !knob.facts.from) moved.delete(key);
    else moved.set(key, {step: knob.step, param: knob.facts.param, value});
    last = knob;
    knob.show();
    cut();
    near();
    shown.skip = 0;
    if (!at('rows').hidden) list();
  };

  const knobOf = (chart, f) => {
    const {edges, least, greatest, whole: counts} = chart.facts;
    const low = Math.min(edges.length ? edges[0] : 0, f.value ?? Infinity);
    const high = Math.max(edges.length ? edges[edges.length - 1] : 1, f.value ?? -Infinity);
    const step = counts ? Math.max(1, Math.round((high - low) / 1000)) : (high - low) / 1000 || 0.001;
    const box = make('div', 'knob');
    const name = make('span');
    const range = make('input');
    Object.assign(range, {type: 'range', min: low, max: high, step});
    const number = make('input');
    Object.assign(number, {type: 'number', step: 'any', placeholder: 'none'});
    const knob = {
      chart, facts: f, step: chart.facts.step, found: null,
      now() {
        const set = moved.get(this.step + '.' + f.param);
        return set ? set.value : f.from ? this.found : f.value;
      },
      show() {
        const value = this.now();
        const set = moved.has(this.step + '.' + f.param);
        name.replaceChildren(f.param + ': ', make('b', '', f.from && !set ? f.from + ' = ' + short(value) : short(value)));
        if (document.activeElement !== number) number.value = value === null ? '' : value;
        if (document.activeElement !== range || value !== null) range.value = value === null ? (f.upper ? high : low) : value;
      },
    };
    const label = chart.facts.op + ' ' + f.param;
    range.setAttribute('aria-label', label);
    number.setAttribute('aria-label', label + ' as a number');
    range.dataset.knob = number.dataset.knob = chart.facts.op + '.' + f.param;
    range.addEventListener('input', () => {
      // At its end a slider bounds nothing.
      const value = Number(range.value);
      const open = f.upper ? value >= high && value >= greatest : value <= low && value <= least;
      turn(knob, open ? null : value);
    });
    number.addEventListener('change', () => turn(knob, number.value === '' ? null : Number(number.value)));
    number.addEventListener('keydown', event => { if (event.key === 'Enter') number.blur(); });
    box.append(name, range, number);
    knobs.push(knob);
    chart.knobs.push(knob);
    return box;
  };

  const build = () => {
    const home = at('bounds');
    home.replaceChildren();
    for (const note of facts.notes) home.append(make('p', 'empty', note));
    if (facts.hidden) home.append(make('p', 'empty', facts.hidden));
    facts.steps.forEach((step, i) => {
      const own = facts.charts.map((f, n) => ({f, n})).filter(({f}) => f.step === i);
      const box = make('div', own.length ? 'step' : 'step plain');
      const head = make('div');
      const counts = make('span', 'counts');
      head.append(make('h2', '', (i + 1) + ' · ' + step.op), counts);
      steps[i] = counts;
      box.append(head);
      for (const {f, n} of own) {
        const chart = {facts: f, knobs: [], svg: drawn('svg', {viewBox: '0 0 1000 96', preserveAspectRatio: 'none', role: 'img', 'aria-label': 'Histogram of ' + f.stat}), near: make('div', 'near')};
        charts[n] = chart;
        const grid = make('div', 'chart');
        const left = make('div');
        const ends = make('div', 'ends');
        ends.append(make('span', '', short(f.edges[0] ?? null)), make('span', '', short(f.edges[f.edges.length - 1] ?? null)));
        left.append(chart.svg, ends);
        const right = make('div');
        f.knobs.forEach(k => right.append(knobOf(chart, k)));
        grid.append(make('p', 'stat', f.stat + (f.unit ? ' (' + f.unit + ')' : '') + ', ' + short(f.least) + ' to ' + short(f.greatest)), left, right, chart.near);
        box.append(grid);
      }
      home.append(box);
    });
    const which = at('which');
    const option = (text, value) => { const o = make('option', '', text); o.value = JSON.stringify(value); which.append(o); };
    option('kept', {of: 'kept'});
    option('dropped by any step', {of: 'dropped'});
    facts.steps.forEach((step, i) => option('dropped by ' + (i + 1) + ' · ' + step.op, {of: 'dropped', step: i}));
    option('set aside', {of: 'aside'});
    facts.reasons.forEach((reason, i) => option('set aside: ' + reason.by + ': ' + reason.code, {of: 'aside', reason: i}));
    option('ended before they were measured', {of: 'unknown'});
  };

  const shown = {skip: 0}, clustered = {skip: 0};
  const PAGE = 12, CLUSTERS = 6;
  const paged = (state, size, total, back, on, where) => {
    at(back).disabled = state.skip === 0;
    at(on).disabled = state.skip + size >= total;
    at(where).textContent = total ? whole(state.skip + 1) + ' to ' + whole(Math.min(total, state.skip + size)) + ' of ' + whole(total) : 'none';
  };
  const list = latest(async () => {
    const which = JSON.parse(at('which').value);
    const answer = await ask('rows', {...which, bounds: bounds(), skip: shown.skip});
    const cls = {kept: 'kept', dropped: 'lost', aside: 'set', unknown: 'set'}[which.of];
    at('list').replaceChildren(...answer.rows.map(row => card(row, cls)));
    paged(shown, PAGE, answer.total, 'back', 'on', 'where');
  });
  const clusters = latest(async () => {
    const answer = await ask('clusters', {skip: clustered.skip});
    at('clist').replaceChildren(...answer.clusters.map(cluster => {
      const box = make('div', 'cluster');
      const cards = make('ul', 'cards');
      cards.append(...cluster.some.map((row, i) => card(row, i ? 'lost' : 'kept')));
      box.append(make('h3', '', whole(cluster.rows) + ' rows: ' + cluster.by), cards);
      return box;
    }));
    paged(clustered, CLUSTERS, answer.total, 'cback', 'con', 'cwhere');
  });
  const turnPage = (state, by, then) => () => { state.skip = Math.max(0, state.skip + by); then(); };
  at('back').addEventListener('click', turnPage(shown, -PAGE, list));
  at('on').addEventListener('click', turnPage(shown, PAGE, list));
  at('cback').addEventListener('click', turnPage(clustered, -CLUSTERS, clusters));
  at('con').addEventListener('click', turnPage(clustered, CLUSTERS, clusters));
  at('which').addEventListener('change', () => { shown.skip = 0; list(); });

  for (const tab of document.querySelectorAll('nav button')) {
    tab.addEventListener('click', () => {
      for (const other of document.querySelectorAll('nav button')) {
        other.setAttribute('aria-selected', String(other === tab));
        at(other.dataset.tab).hidden = other !== tab;
      }
      if (tab.dataset.tab === 'rows') list();
      if (tab.dataset.tab === 'clusters') clusters();
    });
  }

  at('reset').addEventListener('click', () => { moved.clear(); cut(); near(); if (!at('rows').hidden) list(); });
  at('write').addEventListener('click', async () => {
    try {
      const written = await ask('write', {bounds: bounds()});
      say('Written: ' + written.path + '. ' + written.says);
    } catch (error) { say(error.message, true); }
  });
  at('download').addEventListener('click', async () => {
    try {
      const written = await ask('recipe', {bounds: bounds()});
      const link = make('a');
      link.href = URL.createObjectURL(new Blob([written.yaml], {type: 'application/yaml'}));
      link.download = written.name;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) { say(error.message, true); }
  });

  ask('facts').then(answer => { facts = answer; build(); cut(); }, error => say(error.message, true));
})();
