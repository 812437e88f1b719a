// The console's only script. Every page works without it; it adds live rows, unfolding of a host's report,
// selection, and copying. No inline code anywhere: the content security policy forbids it.
"use strict";

(function () {
  const one = (selector, root) => (root || document).querySelector(selector);
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));

  // Time limit of one request for a fragment, milliseconds.
  const FETCH_MS = 15000;
  // The overview reads itself again this often, milliseconds.
  const REFRESH_MS = 5000;

  function fetchHtml(url) {
    const options = { headers: { Accept: "text/html" }, redirect: "error", signal: AbortSignal.timeout(FETCH_MS) };
    return fetch(url, options).then((answer) => {
      if (!answer.ok) throw new Error("HTTP " + answer.status);
      return answer.text();
    });
  }

  // The server's own markup, already escaped by its templates.
  function markup(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  }

  // Keeps the focus where it was when what holds it is replaced by the same thing.
  function replaceKeepingFocus(target, html) {
    if (target.dataset.html === html) return;
    target.dataset.html = html;
    const active = document.activeElement;
    const inside = active && active !== target && target.contains(active);
    const href = inside ? active.getAttribute("href") : null;
    target.replaceChildren(markup(html));
    if (inside) {
      const again = all("a[href]", target).find((a) => a.getAttribute("href") === href);
      if (again) again.focus({ preventScroll: true });
    }
  }

  // Errors and things shown once get the focus, so that a keyboard and a screen reader land on them.
  const focus = one("[data-focus]");
  if (focus) focus.focus();

  // On a narrow screen the place one is at may lie outside the row of places.
  for (const current of all(".nav [aria-current], .tabs [aria-current]")) {
    const row = current.parentElement;
    row.scrollLeft = current.offsetLeft - row.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;
  }

  // Copy buttons.
  for (const button of all("button[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", () => {
      navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim()).then(() => {
        button.textContent = "Copied";
      });
    });
  }

  // Selection of instances.
  const selection = one("form[data-select]");
  if (selection) {
    const everything = one("[data-select-all]", selection);
    const boxes = all("input[name=instance]", selection);
    const count = one("[data-selected-count]", selection);
    const update = () => {
      const ticked = boxes.filter((box) => box.checked).length;
      if (everything) {
        everything.checked = ticked > 0 && ticked === boxes.length;
        everything.indeterminate = ticked > 0 && ticked < boxes.length;
      }
      if (count) count.textContent = ticked === 0 ? "" : ticked + " selected";
      selection.classList.toggle("has-selection", ticked > 0);
    };
    if (everything && boxes.length > 0) {
      everything.hidden = false;
      everything.addEventListener("change", () => {
        for (const box of boxes) box.checked = everything.checked;
        update();
      });
    }
    selection.addEventListener("change", update);
    update();
  }

  // The overview reads itself again, unless nobody looks.
  const refreshed = one("[data-refresh]");
  if (refreshed) {
    setInterval(() => {
      if (document.hidden) return;
      fetchHtml(refreshed.dataset.refresh).then((html) => replaceKeepingFocus(refreshed, html)).catch(() => {});
    }, REFRESH_MS);
  }

  // Unfolding a host's report under its row.
  const tasks = one("table.tasks");
  if (tasks) {
    const columns = all("thead th", tasks).length;

    const detailOf = (row) => {
      const next = row.nextElementSibling;
      return next && next.classList.contains("detail-row") ? next : null;
    };

    const load = (row, detail) => {
      const link = one("a[data-open]", row);
      return fetchHtml(link.href + "?fragment=1")
        .then((html) => {
          const cell = detail.firstElementChild;
          if (cell.dataset.html === html) return;
          cell.dataset.html = html;
          const open = all("details", cell).map((d) => d.open);
          cell.replaceChildren(markup(html));
          // What the reader folded or unfolded stays so.
          if (open.length > 0) all("details", cell).forEach((d, i) => { if (i < open.length) d.open = open[i]; });
        })
        .catch(() => { detail.firstElementChild.textContent = "The report could not be read; the host’s own page may have it."; });
    };

    const addButton = (row) => {
      const head = one("th", row);
      if (one("button", head)) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "unfold";
      button.setAttribute("aria-expanded", "false");
      button.setAttribute("aria-label", "Report of " + row.dataset.name);
      button.addEventListener("click", () => {
        const open = detailOf(row);
        button.setAttribute("aria-expanded", String(!open));
        if (open) {
          open.remove();
          return;
        }
        const detail = document.createElement("tr");
        detail.className = "detail-row";
        const cell = document.createElement("td");
        cell.colSpan = columns;
        cell.textContent = "…";
        detail.append(cell);
        row.after(detail);
        load(row, detail);
      });
      head.prepend(button);
    };

    all("tbody tr[data-task]", tasks).forEach(addButton);

    // Live rows.
    const body = one("tbody", tasks);
    const summary = one("#job-summary");
    const live = one("#live");
    const announce = one("#announce");

    const say = (text) => { if (announce.textContent !== text) announce.textContent = text; };
    const state = (text, bad) => {
      live.hidden = text === "";
      live.textContent = text;
      live.classList.toggle("live-bad", Boolean(bad));
    };

    const put = (task) => {
      let row = document.getElementById("task-" + task.id);
      if (row && Number(row.dataset.version) >= task.version) return;
      // A <tr> is parsed only inside a table body.
      const fresh = one("tr", markup("<table><tbody>" + task.html + "</tbody></table>"));
      if (!row) {
        if (tasks.dataset.append !== "true") return;
        const after = all("tr[data-task]", body).find((r) => r.dataset.name > task.name);
        body.insertBefore(fresh, after || null);
        addButton(fresh);
        const empty = one("[data-empty]");
        if (empty) empty.remove();
        return;
      }
      // The first cell holds the focusable things and never changes: it stays.
      const cells = Array.from(fresh.children).slice(1);
      Array.from(row.children).slice(1).forEach((cell, i) => cell.replaceWith(cells[i]));
      row.dataset.version = String(task.version);
      row.classList.remove("changed");
      void row.offsetWidth;
      row.classList.add("changed");
      const detail = detailOf(row);
      if (detail) load(row, detail);
    };

    if (tasks.dataset.live && summary.dataset.final !== "true") {
      const source = new EventSource(tasks.dataset.live);
      source.addEventListener("open", () => state("Live: rows change by themselves."));
      source.addEventListener("error", () => {
        const over = source.readyState === EventSource.CLOSED;
        state(over ? "The live connection has ended; reload the page to go on." : "The connection is lost; trying again. What is shown may be old.", true);
      });
      source.addEventListener("task", (e) => {
        const task = JSON.parse(e.data);
        put(task);
        say(task.name + ": " + task.state);
      });
      source.addEventListener("job", (e) => {
        const job = JSON.parse(e.data);
        replaceKeepingFocus(summary, job.html);
        if (job.final) say(job.words);
      });
      source.addEventListener("signed-out", () => {
        source.close();
        state("You are signed out; sign in again to see changes.", true);
      });
      source.addEventListener("end", () => {
        source.close();
        state("");
        // The buttons that belong to a finished job come with the page.
        fetchHtml(location.href).then((html) => {
          const page = new DOMParser().parseFromString(html, "text/html");
          const fresh = one("[data-job-actions]", page);
          const old = one("[data-job-actions]");
          if (fresh && old) old.replaceWith(document.adoptNode(fresh));
        }).catch(() => {});
      });
    }
  }
})();
