"use strict";
// Draws the report from the JSON in #data. Every text becomes a text node; nothing is ever parsed as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const RANK = { critical: 4, high: 3, medium: 2, low: 1, info: 0 };
  const PAGE = 50;
  const PRINTED = 2000;
  const rules = new Map(data.rules.map((rule) => [rule.id, rule]));
  const scopes = new Map(data.scopes.map((scope) => [scope.id, scope]));
  const statements = new Map(data.statements.map((statement) => [statement.id, statement]));
  const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;

  function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
      else if (name === "class") node.className = value;
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  }

  const badge = (text, kind) => el("span", { class: `badge ${(kind || text).replace(/[^a-z]/g, "")}` }, text);
  const short = (text) => (text.length > 300 ? `${text.slice(0, 300)}\u2026` : text);
  const titleOf = (id) => (rules.has(id) ? rules.get(id).title : id);

  // ---- where we are: #/section?name=value -------------------------------------------------------------------------

  function readPlace() {
    const match = /^#\/([a-z]+)(?:\?(.*))?$/.exec(location.hash);
    return match ? { section: match[1], query: new URLSearchParams(match[2] || "") } : null;
  }

  function placeOf(section, query) {
    const text = query.toString();
    return `#/${section}${text ? `?${text}` : ""}`;
  }

  // ---- a table that can be searched, filtered, sorted and paged ---------------------------------------------------

  class List {
    static made = [];

    constructor(options) {
      List.made.push(this);
      this.options = options;
      this.section = document.getElementById(options.section);
      this.state = this.initial();
      this.rows = options.rows.map((row) => ({ row, text: null }));
      this.build();
      this.draw();
    }

    initial() {
      return { q: "", sort: this.options.sort || "", page: 0, open: "", filters: {}, all: false };
    }

    apply(query) {
      this.state = this.initial();
      for (const [name, value] of query) {
        if (name === "q" || name === "sort" || name === "open") this.state[name] = value;
        else if (name === "page") this.state.page = Math.max(0, (parseInt(value, 10) || 1) - 1);
        else if (name === "all") this.state.all = value === "1";
        else if (this.filter(name)) this.state.filters[name] = value;
      }
      if (this.state.open) this.reveal(this.state.open);
      this.syncControls();
      this.draw();
    }

    reveal(id) {
      const item = this.rows.find(({ row }) => this.options.id && this.options.id(row) === id);
      if (!item) return;
      if (this.options.hidden && this.options.hidden(item.row)) this.state.all = true;
      const index = this.matching().indexOf(item);
      if (index < 0) {
        this.state.q = "";
        this.state.filters = {};
      }
      this.state.page = Math.floor(Math.max(0, this.matching().indexOf(item)) / PAGE);
    }

    query() {
      const query = new URLSearchParams();
      if (this.state.q) query.set("q", this.state.q);
      for (const [name, value] of Object.entries(this.state.filters)) if (value) query.set(name, value);
      if (this.state.all) query.set("all", "1");
      if (this.state.sort !== (this.options.sort || "")) query.set("sort", this.state.sort);
      if (this.state.page) query.set("page", String(this.state.page + 1));
      if (this.state.open) query.set("open", this.state.open);
      return query;
    }

    touch() {
      history.replaceState(null, "", placeOf(this.options.section, this.query()));
      markPlace(this.options.section);
      this.draw();
    }

    filter(name) {
      return (this.options.filters || []).find((filter) => filter.name === name);
    }

    build() {
      const { options } = this;
      this.search = el("input", {
        type: "search", "aria-label": `Search ${options.noun}`, placeholder: `Search ${options.noun}  (/)`,
        on: { input: () => { this.state.q = this.search.value; this.state.page = 0; this.touch(); } },
      });
      this.selects = new Map();
      const controls = [this.search];
      for (const filter of options.filters || []) {
        if (filter.chip) continue;
        const select = el("select", {
          on: { change: () => { this.state.filters[filter.name] = select.value; this.state.page = 0; this.touch(); } },
        });
        select.append(el("option", { value: "" }, "all"), ...filter.choices.map((c) => el("option", { value: c[0] }, c[1])));
        this.selects.set(filter.name, select);
        controls.push(el("label", {}, filter.label, select));
      }
      if (options.hidden) {
        this.all = el("input", { type: "checkbox", on: { change: () => { this.state.all = this.all.checked; this.state.page = 0; this.touch(); } } });
        controls.push(el("label", {}, this.all, options.hiddenLabel));
      }
      controls.push(...(options.controls ? options.controls(this) : []));
      this.chips = el("span", {});
      this.count = el("span", { class: "under", role: "status", "aria-live": "polite" });
      this.back = el("button", { type: "button", on: { click: () => this.turn(-1) } }, "Previous");
      this.forward = el("button", { type: "button", on: { click: () => this.turn(1) } }, "Next");
      this.pager = el("span", { class: "pager" }, this.back, " ", this.forward);
      this.head = el("thead", {});
      this.body = el("tbody", {});
      this.table = el("table", { class: options.class || "" }, el("caption", {}, options.noun), this.head, this.body);
      this.section.append(
        el("div", { class: "controls" }, ...controls, this.chips, el("span", { class: "spacer" }), this.count, this.pager),
        ...(options.legend ? [options.legend()] : []),
        el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${options.noun} table` }, this.table),
      );
    }

    syncControls() {
      this.search.value = this.state.q;
      for (const [name, select] of this.selects) select.value = this.state.filters[name] || "";
      if (this.all) this.all.checked = this.state.all;
    }

    turn(step) {
      this.state.page += step;
      this.touch();
      this.section.scrollIntoView();
    }

    columns() {
      const { columns } = this.options;
      return typeof columns === "function" ? columns() : columns;
    }

    matching() {
      const words = this.state.q.toLowerCase().split(/\s+/).filter(Boolean);
      const filters = (this.options.filters || []).filter((filter) => this.state.filters[filter.name]);
      return this.sorted(this.rows.filter((item) => {
        const { row } = item;
        if (this.options.hidden && !this.state.all && this.options.hidden(row)) return false;
        if (!filters.every((filter) => filter.values(row).includes(this.state.filters[filter.name]))) return false;
        if (!words.length) return true;
        if (item.text === null) item.text = this.options.text(row).join("\n").toLowerCase();
        return words.every((word) => item.text.includes(word));
      }));
    }

    sorted(items) {
      const name = this.state.sort.replace(/^-/, "");
      const column = this.columns().find((candidate) => candidate.name === name);
      if (!column || !column.sort) return items;
      const sign = this.state.sort.startsWith("-") ? -1 : 1;
      const keyed = items.map((item) => [column.sort(item.row), item]);
      keyed.sort((a, b) => sign * (typeof a[0] === "number" ? a[0] - b[0] : order(a[0], b[0])));
      return keyed.map((pair) => pair[1]);
    }

    draw(limit) {
      const items = this.matching();
      const pages = Math.max(1, Math.ceil(items.length / PAGE));
      this.state.page = Math.min(this.state.page, pages - 1);
      const from = limit ? 0 : this.state.page * PAGE;
      const shown = items.slice(from, from + (limit || PAGE));
      this.drawHead();
      this.body.replaceChildren(...shown.flatMap((item) => this.drawRow(item.row)));
      if (!shown.length) this.body.append(el("tr", {}, el("td", { class: "empty", colspan: "99" }, this.rows.length ? `No ${this.options.noun} match.` : this.options.nothing)));
      this.count.textContent = items.length ? `${from + 1}-${from + shown.length} of ${items.length}` : `0 of ${this.rows.length}`;
      this.back.disabled = this.state.page === 0;
      this.forward.disabled = this.state.page >= pages - 1;
      this.chips.replaceChildren(...(this.options.filters || []).filter((f) => f.chip && this.state.filters[f.name]).map((f) =>
        el("button", { type: "button", class: "chip", "aria-label": `Remove filter ${f.label}`, on: { click: () => { delete this.state.filters[f.name]; this.touch(); } } },
          `${f.label} ${this.state.filters[f.name]} \u00d7`)));
    }

    drawHead() {
      this.head.replaceChildren(el("tr", {}, this.columns().map((column) => {
        const now = this.state.sort.replace(/^-/, "") === column.name;
        const direction = this.state.sort.startsWith("-") ? "descending" : "ascending";
        const content = column.sort
          ? el("button", { type: "button", on: { click: () => this.sortBy(column) } }, column.label)
          : el("span", {}, column.label);
        return el("th", { scope: "col", class: column.headClass || column.class || "", title: column.title, "aria-sort": now ? direction : column.sort ? "none" : null }, content);
      })));
    }

    sortBy(column) {
      const up = column.name;
      const down = `-${column.name}`;
      const first = column.descending ? down : up;
      this.state.sort = this.state.sort === first ? (first === up ? down : up) : first;
      this.state.page = 0;
      this.touch();
      const button = [...this.head.querySelectorAll("button")].find((node) => node.textContent === column.label);
      if (button) button.focus();
    }

    drawRow(row) {
      const id = this.options.id ? this.options.id(row) : "";
      const open = id !== "" && id === this.state.open;
      const tr = el("tr", { class: "row", "data-id": id || null }, this.columns().map((column) => el("td", { class: column.class || "" }, column.cell(row, this.opener(id, open)))));
      return open && this.options.detail ? [tr, el("tr", { class: "detail" }, el("td", { colspan: String(this.columns().length) }, this.options.detail(row)))] : [tr];
    }

    opener(id, open) {
      return (text) => el("button", {
        type: "button", class: "opener", "aria-expanded": String(open),
        on: { click: () => { this.state.open = open ? "" : id; this.touch(); this.focusRow(id); } },
      }, short(text));
    }

    focusRow(id) {
      const row = [...this.body.querySelectorAll("tr.row")].find((node) => node.dataset.id === id);
      const button = row && row.querySelector(".opener");
      if (button) button.focus({ preventScroll: true });
      return row;
    }
  }

  // ---- details ----------------------------------------------------------------------------------------------------

  const kv = (caption, pairs) => pairs.length
    ? [el("h3", {}, caption), el("table", { class: "kv" }, pairs.map(([name, ...values]) => el("tr", {}, el("th", { scope: "row" }, name), values.map((value) => (value instanceof Node ? el("td", {}, value) : el("td", { class: "mono" }, value))))))]
    : [];

  const side = (value, kind) => el("td", { class: `mono ${kind}` }, value === null ? "(absent)" : value);

  const oldAndNew = (changes) => changes.length
    ? [el("h3", {}, "Baseline and now"), el("table", { class: "kv" },
      el("thead", {}, el("tr", {}, ["attribute", "baseline", "now"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, changes.map(([name, old, now]) => el("tr", {}, el("th", { scope: "row" }, name), side(old, "old"), side(now, "now")))))]
    : [];

  function evidenceOf(row) {
    const scope = scopes.get(row.scope);
    return kv(row.rule ? `${titleOf(row.rule)}${row.certainty ? `, ${row.certainty}` : ""}` : row.source, [
      ["reason", row.reason], ["excuse", row.excuse], ["key", row.key], ["value", row.value], ["type", row.type], ["data", row.data],
      ["key written", row.mtime], ["scope", scope ? scope.text : row.scope], 
      ...row.raw.flatMap(([id, hash]) => [["query", (statements.get(id) || { sql: id }).sql], ["its raw answer", `sha256 ${hash}`]]),
      ["rule", row.rule],
    ].filter((pair) => pair[1]));
  }

  function findingDetail(finding) {
    const guides = finding.rules.map((id) => rules.get(id)).filter((rule) => rule && (rule.guidance || rule.description));
    return el("div", {},
      el("div", { class: "columns" },
        el("div", {},
          kv("Registration", [["kind", finding.entity.kind], ...finding.entity.identity, ["known as", finding.entity.name], ...finding.entity.attributes, ...finding.entity.ignored].filter((pair) => pair[1])),
          kv("Matter", [["finding", finding.id], ["verdict", finding.verdict],
            ["prevalence", finding.prevalence], ["lowered", finding.capped], ["approved", finding.approval],
            ["techniques", finding.techniques.join(", ")]].filter((pair) => pair[1]))),
        el("div", {},
          oldAndNew(finding.changes),
          finding.why.length || finding.excuses.length ? [el("h3", {}, "Why"), [...finding.why, ...finding.excuses].map((text) => el("p", {}, text))] : [],
          finding.triage.length ? kv("Triage", finding.triage) : [],
          el("h3", {}, "Next"), el("p", {}, el("code", {}, `fleetscan triage ${finding.id}${data.reach}${data.store}`)),
          el("p", {}, el("code", {}, `fleetscan approve ${finding.id} --owner YOU --reason 'WHY' --expires YYYY-MM-DD${data.store}`)))),
      el("div", { class: "columns evidence" }, finding.evidence.map((row) => el("div", {}, evidenceOf(row)))),
      guides.map((rule) => [el("h3", {}, `Guidance: ${rule.title}`), el("div", { class: "guide" }, rule.guidance || rule.description)]));
  }

  // ---- sections ---------------------------------------------------------------------------------------------------

  const labelOf = (row) => (row.entity ? row.entity.label : "the whole host");
  const choices = (values) => [...new Set(values)].filter(Boolean).sort(order).map((value) => [value, value]);
  const bySeverity = Object.keys(RANK).map((name) => [name, name]);
  const severityColumn = { name: "severity", label: "Severity", class: "narrow", descending: true, sort: (row) => RANK[row.severity], cell: (row) => badge(row.severity) };
  const hostColumn = { name: "host", label: "Host", class: "host", sort: (row) => row.host, cell: (row) => short(row.host) };
  const entityCell = (entity) => el("span", {}, short(entity.label));
  const pairsText = (pairs) => pairs.flat().map((value) => value || "");

  const findings = new List({
    section: "findings", noun: "findings", nothing: "Nothing was found.", rows: data.findings, sort: "-severity",
    id: (row) => row.id, hidden: (row) => !row.open, hiddenLabel: "approved and gone too",
    text: (row) => [row.id, row.host, row.title, row.state, row.verdict, row.what, ...row.why, ...row.excuses, ...row.techniques,
      ...row.rules.map(titleOf), ...pairsText(row.entity.attributes), ...pairsText(row.changes), ...row.evidence.flatMap((e) => [e.key, e.value, e.data, e.source])],
    filters: [
      { name: "severity", label: "Severity", choices: bySeverity, values: (row) => [row.severity] },
      { name: "state", label: "State", choices: choices(data.findings.map((row) => row.state)), values: (row) => [row.state] },
      { name: "certainty", label: "Certainty", choices: choices(data.findings.map((row) => row.certainty)), values: (row) => [row.certainty] },
      { name: "rule", label: "Rule", choices: data.rules.map((rule) => [rule.id, rule.title]), values: (row) => row.rules },
      { name: "host", label: "Host", chip: true, values: (row) => [row.host] },
    ],
    columns: [
      severityColumn,
      { name: "certainty", label: "Certainty", class: "narrow", sort: (row) => row.certainty, cell: (row) => row.certainty },
      { name: "state", label: "State", class: "narrow", sort: (row) => row.state, cell: (row) => badge(row.state) },
      hostColumn,
      { name: "title", label: "What", sort: (row) => row.title, cell: (row, opener) => [opener(row.title), [...row.why.slice(0, 2), ...row.excuses].map((text) => el("div", { class: "under" }, short(text)))] },
      { name: "rules", label: "Rules", sort: (row) => row.rules.map(titleOf).join(), cell: (row) => row.rules.map((id) => el("div", {}, short(titleOf(id)))) },
      { name: "hosts", label: "On hosts", class: "narrow", sort: (row) => (row.hosts === null ? 1e9 : row.hosts), cell: (row) => (row.hosts === null ? "" : `${row.hosts} of ${row.of}`) },
    ],
    detail: findingDetail,
  });

  const known = new Set(data.findings.map((row) => row.id));
  const worst = new Map();
  const found = new Map();
  for (const finding of data.findings) {
    if (!finding.open) continue;
    worst.set(finding.host, Math.max(worst.get(finding.host) ?? -1, RANK[finding.severity]));
    for (const rule of finding.rules) {
      const key = `${finding.host}\n${rule}`;
      const cell = found.get(key) || { number: 0, severity: "info" };
      cell.number += 1;
      if (RANK[finding.severity] > RANK[cell.severity]) cell.severity = finding.severity;
      found.set(key, cell);
    }
  }
  const HOST_STATE = { unreachable: 2, partial: 1, complete: 0 };
  const hosts = data.hosts.map(([name, groups, facts, ruleSet, scopeSet, knownGood, likely, state, incomplete, blind]) => ({
    name, state, knownGood, likely, incomplete, blind, groups: data.groups[groups], facts: data.facts[facts],
    rules: data.ruleCoverage[ruleSet], scopes: data.scopeCoverage[scopeSet],
    rank: ((worst.get(name) ?? -1) + 1) * 10 + HOST_STATE[state],
  }));
  const indexes = new Map();
  function statusOf(items, id) {
    if (!indexes.has(items)) indexes.set(items, new Map(items.map((item) => [item[0], item])));
    return indexes.get(items).get(id);
  }

  const SYMBOL = { "proven clean": "\u00b7", complete: "\u00b7", finding: "!", partial: "\u25d0", unreachable: "\u00d7", "not covered": "\u2013" };
  let heat = data.rules.length ? "rules" : "scopes";

  function heatCell(host, kind, id) {
    const item = statusOf(host[kind], id) || [id, "not covered", "", ""];
    const hit = kind === "rules" ? found.get(`${host.name}\n${id}`) : null;
    const name = kind === "rules" ? titleOf(id) : (scopes.get(id) || { text: id }).text;
    const words = [hit ? `${hit.number} findings, ${hit.severity}` : item[1] === "finding" ? "known good or approved only" : item[1], item[2], item[3]].filter(Boolean).join(", ");
    const label = `${host.name}, ${name}: ${words}`;
    if (hit) {
      const query = new URLSearchParams({ rule: id, host: host.name });
      return el("a", { class: `cell ${hit.severity}`, href: placeOf("findings", query), title: label, "aria-label": label }, String(hit.number));
    }
    const shown = item[1] === "finding" ? "proven clean" : item[1];
    return el("span", { class: `cell ${shown.split(" ").pop()}`, title: label, "aria-label": label, role: "img" }, SYMBOL[shown] || "?");
  }

  function hostDetail(host) {
    const open = (caption, items, name) => {
      const why = new Map();
      for (const item of items) {
        if (["proven clean", "finding", "complete"].includes(item[1])) continue;
        const reason = [item[1], item[2], item[3]].filter(Boolean).join(": ");
        why.set(reason, [...(why.get(reason) || []), name(item[0])]);
      }
      return why.size ? [el("h3", {}, caption), [...why].map(([reason, names]) => [el("p", {}, reason), el("ul", { class: "mono" }, names.map((text) => el("li", {}, text)))])] : [];
    };
    const scopeName = (id) => (scopes.get(id) || { text: id }).text;
    return el("div", { class: "columns" },
      el("div", {}, kv("Host", [["groups", host.groups.join(", ")], ...host.facts, ["known good", `${host.knownGood} rows`], ["likely stock", `${host.likely} rows`]].filter((pair) => pair[1]))),
      el("div", {}, open("Rules not covered", host.rules, titleOf), open("Scopes not covered", host.scopes, scopeName), host.incomplete.length ? [el("h3", {}, "Not seen whole"), host.incomplete.map((text) => el("p", {}, text))] : [], kv("Blind spots", host.blind.map(([kind, key, detail]) => [kind, `${key}: ${detail}`]))));
  }

  const legend = () => el("div", { class: "legend" }, [["high", "2", "findings, by severity"], ["clean", SYMBOL["proven clean"], "proven clean"], ["partial", SYMBOL.partial, "partial"], ["unreachable", SYMBOL.unreachable, "unreachable"], ["covered", SYMBOL["not covered"], "not covered"]]
    .map(([kind, symbol, text]) => el("span", {}, el("span", { class: `cell ${kind}`, "aria-hidden": "true" }, symbol), text)));

  new List({
    section: "coverage", noun: "hosts", nothing: "No hosts.", rows: hosts, sort: "-rank", class: "heat", legend,
    id: (row) => row.name,
    text: (row) => [row.name, row.state, ...row.groups, ...pairsText(row.facts), ...row.scopes.flatMap((item) => [item[2], item[3]]), ...row.blind.flat()],
    filters: [
      { name: "status", label: "Status", choices: [["complete", "complete"], ["partial", "partial"], ["unreachable", "unreachable"]], values: (row) => [row.state] },
      { name: "group", label: "Group", choices: choices(hosts.length < 20000 ? data.groups.flat() : []), values: (row) => row.groups },
    ],
    controls: (list) => {
      const select = el("select", { on: { change: () => { heat = select.value; list.draw(); } } }, el("option", { value: "rules" }, "rules"), el("option", { value: "scopes" }, "scopes"));
      select.value = heat;
      return [el("label", {}, "Columns", select)];
    },
    columns: () => [
      { name: "name", label: "Host", sort: (row) => row.name, cell: (row, opener) => opener(row.name) },
      { name: "rank", label: "Status", class: "narrow", descending: true, sort: (row) => row.rank, cell: (row) => badge(row.state) },
      { name: "why", label: "Why", sort: (row) => reasonsOf(row), cell: (row) => el("span", { class: "under" }, short(reasonsOf(row))) },
      ...(heat === "rules" ? data.rules.map((rule) => [rule.id, rule.title]) : data.scopes.map((scope) => [scope.id, scope.text])).map(([id, label]) => (
        { name: `cell-${id}`, label, title: label, headClass: "cellhead", cell: (row) => heatCell(row, heat, id) })),
    ],
    detail: hostDetail,
  });

  function reasonsOf(host) {
    return [...new Set([...host.scopes, ...host.rules].map((item) => item[2]).filter(Boolean)), ...(host.incomplete.length ? [`${host.incomplete.length} not seen whole`] : [])].slice(0, 3).join(", ");
  }

  new List({
    section: "changes", noun: "changes", nothing: data.sweep.baseline ? "Nothing changed." : "There is no baseline to compare with.", rows: data.changes.map((row, n) => ({ ...row, id: String(n) })), sort: "-severity",
    id: (row) => row.id,
    text: (row) => [...row.hosts, row.what, row.why, labelOf(row), ...pairsText(row.entity ? row.entity.attributes : []), ...pairsText(row.changes)],
    filters: [{ name: "what", label: "Change", choices: choices(data.changes.map((row) => row.what)), values: (row) => [row.what] }],
    columns: [
      severityColumn,
      { name: "what", label: "Change", class: "narrow", sort: (row) => row.what, cell: (row) => badge(row.what) },
      hostColumn,
      { name: "entity", label: "Registration", sort: labelOf, cell: (row, opener) => [opener(labelOf(row)), row.why ? el("div", { class: "under" }, short(row.why)) : ""] },
      { name: "attributes", label: "Attributes", cell: (row) => row.changes.map(([name, old, now]) => el("div", { class: "mono" }, short(`${name}: ${old === null ? "(absent)" : old} \u2192 ${now === null ? "(absent)" : now}`))) },
      { name: "finding", label: "Finding", cell: (row) => (known.has(row.finding) ? el("a", { href: placeOf("findings", new URLSearchParams({ open: row.finding })) }, row.finding) : "") },
    ],
    detail: (row) => el("div", { class: "columns" }, el("div", {}, oldAndNew(row.changes)), el("div", {}, row.entity ? kv("Registration", [...row.entity.identity, ...row.entity.attributes, ...row.entity.ignored]) : [], row.hosts.length > 1 ? [el("h3", {}, "Hosts"), el("p", {}, row.hosts.join(", "))] : [])),
  });

  new List({
    section: "prevalence", noun: "registrations", nothing: "Nothing to count.", rows: data.prevalence, sort: "hosts",
    hidden: (row) => row.stock, hiddenLabel: "stock Windows too",
    text: (row) => [row.entity.label, ...pairsText(row.entity.attributes), ...row.builds.map((build) => build[0])],
    columns: [
      { name: "entity", label: "Registration", sort: (row) => row.entity.label, cell: (row) => [entityCell(row.entity), el("div", { class: "under mono" }, row.entity.attributes.filter(([name]) => name === "dll" || name === "function").map((pair) => pair[1]).join("  "))] },
      severityColumn,
      { name: "verdict", label: "Verdict", sort: (row) => row.verdict, cell: (row) => row.verdict },
      { name: "hosts", label: "On hosts", class: "narrow", sort: (row) => row.hosts, cell: (row) => `${row.hosts} of ${row.of}` },
      { name: "new", label: "New on", class: "narrow", descending: true, sort: (row) => row.newOn, cell: (row) => (row.newOn ? String(row.newOn) : "") },
      { name: "builds", label: "By build", cell: (row) => row.builds.map(([build, number, of]) => `${build || "unknown"}: ${number} of ${of}`).join(", ") },
    ],
  });

  new List({
    section: "approvals", noun: "approvals", nothing: "No approvals.", rows: data.approvals, sort: "expires",
    text: (row) => [row.id, row.owner, row.reason, row.scope, row.state, row.where],
    columns: [
      { name: "id", label: "Approval", sort: (row) => row.id, cell: (row) => row.id },
      { name: "state", label: "State", class: "narrow", sort: (row) => row.state, cell: (row) => badge(row.state) },
      { name: "owner", label: "Owner", sort: (row) => row.owner, cell: (row) => row.owner },
      { name: "reason", label: "Reason", sort: (row) => row.reason, cell: (row) => row.reason },
      { name: "scope", label: "Scope", sort: (row) => row.scope, cell: (row) => row.scope },
      { name: "expires", label: "Expires", class: "narrow", sort: (row) => row.expires, cell: (row) => row.expires },
      { name: "uses", label: "Uses", class: "narrow number", descending: true, sort: (row) => row.uses, cell: (row) => String(row.uses) },
      { name: "where", label: "Where", sort: (row) => row.where, cell: (row) => row.where },
    ],
  });

  new List({
    section: "evidence", noun: "rules", nothing: "No rules.", rows: data.rules, sort: "-severity",
    id: (row) => row.id,
    text: (row) => [row.id, row.title, row.description, row.author, ...row.techniques],
    columns: [
      severityColumn,
      { name: "title", label: "Rule", sort: (row) => row.title, cell: (row, opener) => opener(row.title || row.id) },
      { name: "label", label: "State can answer", sort: (row) => row.label, cell: (row) => row.label },
      { name: "techniques", label: "Techniques", sort: (row) => row.techniques.join(), cell: (row) => row.techniques.join(", ") },
      { name: "digest", label: "SHA-256", cell: (row) => el("span", { class: "mono" }, row.digest) },
    ],
    detail: (row) => el("div", {},
      kv("Rule", [["id", row.id], ["language", row.dialect], ["author", row.author], ["licence", row.license], ["references", row.references.join("  ")], ["false positives", row.falsePositives.join("; ")]].filter((pair) => pair[1])),
      [row.description, row.guidance].filter(Boolean).map((text) => el("div", { class: "guide" }, text))),
  });
  document.getElementById("evidence").append(
    el("h3", {}, "Queries"),
    el("table", { class: "plain" }, el("caption", {}, "Statements sent to every host"), data.statements.map((item) => el("tr", {}, el("th", { scope: "row" }, item.id), el("td", { class: "mono" }, item.sql)))));

  // ---- bars, theme, places, keys, print ---------------------------------------------------------------------------

  function bar(id, parts) {
    const total = parts.reduce((sum, part) => sum + part[1], 0);
    document.getElementById(id).append(...parts.filter((part) => part[1]).map(([kind, number]) => {
      const piece = el("span", { class: kind });
      piece.style.width = `${(100 * number) / total}%`;
      return piece;
    }));
  }
  const tally = (values, names) => names.map((name) => [name, values.filter((value) => value === name).length]);
  bar("bar-hosts", tally(hosts.map((host) => host.state), ["complete", "partial", "unreachable"]));
  bar("bar-severities", tally(data.findings.filter((row) => row.open).map((row) => row.severity), Object.keys(RANK)));

  const theme = document.getElementById("theme");
  const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const showTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-pressed", String(isDark())); };
  theme.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; showTheme(); });
  showTheme();

  const lists = new Map(List.made.map((list) => [list.options.section, list]));
  function markPlace(section) {
    for (const link of document.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === `#/${section}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }
  function go() {
    const place = readPlace();
    const section = place && document.getElementById(place.section);
    if (!section) return;
    const list = lists.get(place.section);
    if (list) list.apply(place.query);
    markPlace(place.section);
    const row = list && list.state.open ? list.focusRow(list.state.open) : null;
    (row || section).scrollIntoView({ block: "start" });
    if (!row) section.focus({ preventScroll: true });
  }
  window.addEventListener("hashchange", go);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      findings.search.focus();
    }
  });
  window.addEventListener("beforeprint", () => { for (const list of lists.values()) list.draw(PRINTED); });
  window.addEventListener("afterprint", () => { for (const list of lists.values()) list.draw(); });
  go();
})();
