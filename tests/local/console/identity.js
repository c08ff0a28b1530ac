// Who the visitor is: a study, a site, and a patient of it. Kept in this browser.

/** @import { Identity } from "./types.js" */

const KEPT = "epro-console.identity";

/** @type {Identity} */
const FIRST = { study: "EPRO-DEMO", site: "S01", patient: "P-001" };

/** @type {Identity} */
let identity = { ...FIRST, ...kept(), ...asked() };

export function me() {
  return identity;
}

/** @param {Partial<Identity>} change */
export function become(change) {
  identity = { ...identity, ...change };
  localStorage.setItem(KEPT, JSON.stringify(identity));
}

/** @returns {Partial<Identity>} */
function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  } catch {
    return {};
  }
}

/**
 * What the address asks for: `?study=DEMO&site=S01&patient=P-7`.
 * @returns {Partial<Identity>}
 */
function asked() {
  const query = new URLSearchParams(location.search);
  const named = ["study", "site", "patient"].filter((name) => query.get(name));
  return Object.fromEntries(named.map((name) => [name, query.get(name)]));
}
