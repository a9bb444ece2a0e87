// Takes Emscripten's loader script apart: which of its parts need which, and the script without those that nothing needs.
// Usage: node loader_script.mjs parts LOADER.mjs OTHER.mjs NEEDS.json
//        node loader_script.mjs shrink LOADER.mjs KEPT.json RESULT.mjs
//
// The loader is one function. Its parts, by name:
//   NAME             declared directly in it; needs what its code names
//   Module.NAME      a property that it gives to `Module`; needs what that is set to
//   import NAME      an entry of `wasmImports`; needs its value
//   export NAME      an export of the WebAssembly; needed by the names that are set to it
// "" stands for the statements that run in any case, and for the properties that OTHER.mjs reads.
// Any use of a name counts, whatever it means there: too much may be kept, never too little.
import { readFileSync, writeFileSync } from "node:fs";
import { parse } from "acorn";
import { minify } from "terser";

const LOADER = "_createPyodideModule", IMPORTS = "wasmImports", EXPORTS = "assignWasmExports";
const CONVERSIONS = "applySignatureConversions";
// Where a library brings JavaScript of its own along. None of ours does; and what may be evaluated here could use any
// name, which would keep every name as it is.
const EVALUATION = "eval(func)", REFUSAL = 'abort("JavaScript inside a library is refused")';
const DIALECT = { ecmaVersion: "latest", sourceType: "module" };

// Statements about these only prepare them: who draws nothing does without.
const OPTIONAL = ["MainLoop", "registerPostMainLoop", "miniTempWebGLFloatBuffers", "miniTempWebGLIntBuffers"];

const fail = (what) => {
  throw new Error(`${what}: this is not the loader that buildtools/loader_script.mjs was written for`);
};
/** The name in `OBJECT.name` and `OBJECT["name"]`, else null. */
function property(node, object) {
  if (node?.type !== "MemberExpression" || (object && node.object.name !== object)) return null;
  if (!node.computed) return node.property.name;
  return node.property.type === "Literal" ? String(node.property.value) : null;
}

/** Names and properties that code uses. @returns {string[]} */
function usesOf(node) {
  const uses = new Set();
  const visit = (inner) => {
    if (Array.isArray(inner)) inner.forEach(visit);
    if (typeof inner?.type !== "string") return;
    const read = property(inner);
    if (read !== null) uses.add(`Module.${read}`);
    const exported = property(inner, "wasmExports");
    if (exported !== null) uses.add(`export ${exported}`);
    // A name that is looked up at run time.
    if (inner.type === "Literal" && typeof inner.value === "string") uses.add(`export ${inner.value}`);
    if (inner.type === "Identifier") uses.add(inner.name);
    // `const { NAME } = Module`
    if (inner.type === "Property" && inner.key.type === "Identifier") uses.add(`Module.${inner.key.name}`);
    for (const child of Object.values(inner)) if (typeof child === "object") visit(child);
  };
  visit(node);
  return [...uses];
}

/** `X = Module["X"] = wasmExports["Y"]`, any number of targets; an address is read as `wasmExports["Y"].value >>> 0`. */
function exportAssignment(node) {
  const targets = [];
  for (; node?.type === "AssignmentExpression"; node = node.right) targets.push(node.left);
  const value = node?.type === "BinaryExpression" && property(node.left) === "value" ? node.left.object : node;
  const exported = property(value, "wasmExports");
  return exported === null ? fail(`another statement in ${EXPORTS}`) : { targets, value: node, exported };
}

const partOf = (target) => (target.type === "Identifier" ? target.name : `Module.${property(target, "Module") ?? fail("another target of an export")}`);

/**
 * The loader's statements: the parts that each one has, with what they need, and how it reads with only some kept.
 * @returns {{parts: [string, string[]][], render: (kept: Set<string>) => string}[]}
 */
function statementsOf(source, body) {
  const text = (node) => source.slice(node.start, node.end);
  const whole = (name, node, uses) => ({ parts: [[name, uses]], render: (kept) => (kept.has(name) ? text(node) : "") });

  function declaration(statement) {
    const pieces = statement.declarations.map((node) => {
      const { name } = node.id;
      if (name === undefined) return destructuring(node);
      if (name !== IMPORTS) return whole(name, node, node.init ? usesOf(node.init) : []);
      const entries = node.init.properties.map((entry) => whole(`import ${entry.key.name ?? entry.key.value}`, entry, usesOf(entry.value)));
      return {
        parts: entries.flatMap(({ parts }) => parts),
        render: (kept) => `${name}={${entries.map(({ render }) => render(kept)).filter(Boolean).join(",")}}`,
      };
    });
    return {
      parts: pieces.flatMap(({ parts }) => parts),
      render: (kept) => {
        const left = pieces.map(({ render }) => render(kept)).filter(Boolean);
        return left.length ? `${statement.kind} ${left.join(",")};` : "";
      },
    };
  }

  /** `{ a, b: c } = ...` */
  function destructuring(node) {
    const names = node.id.properties.map(({ value }) => value.name ?? fail("a pattern in a pattern"));
    return {
      parts: names.map((name) => [name, usesOf(node.init)]),
      render: (kept) => (names.some((name) => kept.has(name)) ? text(node) : ""),
    };
  }

  /** `function NAME(wasmExports){...}` with one rendering for each statement in it. */
  const rebuilt = (node, pieces) => ({
    parts: pieces.flatMap(({ parts }) => parts),
    render: (kept) => `function ${node.id.name}(wasmExports){${pieces.map(({ render }) => render(kept)).join("")}}`,
  });

  function assignExport({ expression }) {
    const { targets, value, exported } = exportAssignment(expression);
    return {
      parts: targets.map((target) => [partOf(target), [`export ${exported}`]]),
      render: (kept) => {
        const left = targets.filter((target) => kept.has(partOf(target))).map(text);
        return left.length ? `${left.join("=")}=${text(value)};` : "";
      },
    };
  }

  function convertExport(statement) {
    const converted = property(statement.expression?.left, "wasmExports");
    return { parts: [], render: (kept) => (converted === null || kept.has(`export ${converted}`) ? text(statement) : "") };
  }

  return body.map((statement) => {
    if (statement.type === "VariableDeclaration") return declaration(statement);
    if (statement.type === "FunctionDeclaration" || statement.type === "ClassDeclaration") {
      const { name } = statement.id;
      if (name === EXPORTS) return rebuilt(statement, statement.body.body.map(assignExport));
      if (name === CONVERSIONS) return rebuilt(statement, statement.body.body.map(convertExport));
      return whole(name, statement, usesOf(statement));
    }
    const { left, right } = statement.expression ?? {};
    const target = statement.expression?.type === "AssignmentExpression" && property(left) !== null ? left.object.name : undefined;
    if (target === "Module" && ["Identifier", "MemberExpression"].includes(right.type)) return whole(`Module.${property(left)}`, statement, usesOf(right));
    // What a function is given ("sig", "stub") goes with the function.
    if (target?.startsWith("_")) return whole(target, statement, usesOf(right));
    const uses = usesOf(statement);
    return whole(OPTIONAL.find((name) => uses.includes(name)) ?? "", statement, uses);
  });
}

function takeApart(source) {
  const program = parse(source, DIALECT);
  const loader = program.body.find((node) => node.type === "FunctionDeclaration" && node.id.name === LOADER) ?? fail(`no ${LOADER}`);
  const { body } = loader.body;
  const [first] = body;
  return { statements: statementsOf(source, body), head: source.slice(0, first.start), tail: source.slice(body.at(-1).end) };
}

function needs(loader, other) {
  /** @type {Record<string, Set<string>>} */
  const found = { "": new Set(usesOf(parse(other, DIALECT)).filter((use) => use.startsWith("Module."))) };
  for (const { parts } of takeApart(loader).statements) {
    for (const [name, uses] of parts) for (const use of uses) (found[name] ??= new Set()).add(use);
  }
  return Object.fromEntries(Object.entries(found).map(([name, uses]) => [name, [...uses].sort()]));
}

async function shrink(loader, names) {
  const kept = new Set([...names, ""]);
  const { statements, head, tail } = takeApart(loader);
  const left = head + statements.map(({ render }) => render(kept)).join("\n") + tail;
  const source = left.replaceAll(EVALUATION, REFUSAL);
  if (/\beval\(/.test(source)) fail("another use of eval");
  const { code } = await minify(source, { module: true, ecma: 2020, compress: { passes: 2 }, format: { comments: false } });
  return code;
}

const [task, ...files] = process.argv.slice(2);
const [loader, second] = files.slice(0, 2).map((file) => readFileSync(file, "utf8"));
const result = task === "parts" ? JSON.stringify(needs(loader, second)) : await shrink(loader, JSON.parse(second));
writeFileSync(files[2], result);
