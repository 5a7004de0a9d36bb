/** What the browser gets is imported as text (`with { type: "text" }`), so that the single binary carries it. */
declare module "*/format.js" {
  const text: string;
  export default text;
}
declare module "*/chart.js" {
  const text: string;
  export default text;
}
declare module "*/rates.js" {
  const text: string;
  export default text;
}
declare module "*/table.js" {
  const text: string;
  export default text;
}
declare module "*/store.js" {
  const text: string;
  export default text;
}
declare module "*/archive.js" {
  const text: string;
  export default text;
}
declare module "*/script.js" {
  const text: string;
  export default text;
}
declare module "*.css" {
  const text: string;
  export default text;
}
