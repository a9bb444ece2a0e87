// A bot that reads a page over the mixnet. Its test gives it a local network instead.
import { mixFetch } from "smolmix-web";

/** @returns {Promise<string>} what the page greets with */
export async function greeting(url = "https://example.com/json") {
  const response = await mixFetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return (await response.json()).hello;
}
