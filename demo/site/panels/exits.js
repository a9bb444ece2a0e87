/** Exits: what the directory lists, and a tunnel with the one that is chosen. @module */

import { make, table } from "../ui.js";

const PAGES = 40;
/** What a list of exits asks the directory for; the tunnel's own worker asks for the same. */
const LIST = "v2/nym-nodes/described";
/** The tunnel asks nobody else either. */
const USUAL = "https://validator.nymtech.net/api/";

/** @param {string} base @param {AbortSignal} signal @returns {Promise<any[]>} */
async function nodes(base, signal) {
  const all = [];
  for (let page = 0; page < PAGES; page += 1) {
    const response = await fetch(new URL(`${LIST}?page=${page}`, base.endsWith("/") ? base : `${base}/`), { signal, credentials: "omit", referrerPolicy: "no-referrer" });
    if (!response.ok) throw new Error(`the directory answers with status ${response.status}`);
    const { data, pagination } = await response.json();
    all.push(...data);
    if (!data.length || all.length >= pagination.total) break;
  }
  return all;
}

/** @type {import("../ui.js").Panel} */
export const panel = {
  id: "exits",
  title: "Exit",
  lead: "The exit is the one that servers see. Asking for the list is a request of this page to the directory, which the tunnel asks as well.",
  action: "List exits",
  fields: () => [
    { name: "country", label: "Country (all)", value: "" },
    { name: "exit", label: "Address (chosen below)", value: "", wide: true },
  ],
  async run({ country }, { output, say, signal, context }) {
    const { directoryUrls } = context.config.options;
    say("asking the directory …");
    const found = (await nodes(directoryUrls?.[0] ?? USUAL, signal)).map(({ description }) => ({
      address: description?.ip_packet_router?.address,
      country: description?.auxiliary_details?.location ?? "–",
      version: description?.build_information?.build_version ?? "–",
      host: description?.host_information?.hostname ?? description?.host_information?.ip_address?.[0] ?? "–",
    })).filter((exit) => exit.address && (!country || exit.country === country.toUpperCase()));
    const now = (await context.tunnel()).state.exit;
    say(`${found.length} exits`);
    const list = table("Exits", ["country", "version", "host", "gateway", ""], found.map((exit) => [exit.country, exit.version, exit.host, `${exit.address.split("@")[1].slice(0, 10)}…`, ""]));
    [...list.querySelectorAll("tbody tr")].forEach((row, at) => {
      const { address } = found[at], last = /** @type {HTMLElement} */ (row.lastElementChild);
      const use = make("button", { type: "button", "aria-label": `Use the exit ${address.split("@")[1].slice(0, 10)}` }, address === now ? "In use" : "Use");
      use.disabled = address === now;
      use.addEventListener("click", async () => {
        const field = /** @type {HTMLInputElement} */ (output.closest("section")?.querySelector("[name=exit]"));
        field.value = address; // and so it stands in the address and the code
        field.dispatchEvent(new Event("input", { bubbles: true }));
        say("setting the tunnel up with this exit …");
        for (const button of list.querySelectorAll("button")) button.disabled = true;
        try {
          await context.reconnect({ preferredIpr: address });
          say("connected by the exit that you chose");
        } catch (error) {
          say(String(error), true);
        }
        for (const button of list.querySelectorAll("button")) button.disabled = button === use;
        use.textContent = "In use";
      });
      last.append(use);
    });
    output.append(list);
  },
};
