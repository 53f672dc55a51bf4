// Returns every text on the page whose contrast with its ground is below WCAG 2.1 AA: 4.5, or 3
// where it is large. What is disabled is exempt (1.4.3).
() => {
  const parse = (text) => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    const [r, g, b] = numbers.slice(0, 3).map((n) => n * scale);
    return { r, g, b, a: numbers.length > 3 ? numbers[3] : 1 };
  };
  const over = (top, below) => {
    const mix = (one, other) => one * top.a + other * (1 - top.a);
    return { r: mix(top.r, below.r), g: mix(top.g, below.g), b: mix(top.b, below.b), a: 1 };
  };
  const luminance = ({ r, g, b }) => {
    const linear = [r, g, b].map((n) => {
      const c = n / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ratio = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  // Colours of an element and of what lies behind it, each let through by the opacities above it.
  const seen = (element) => {
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(e);
    let ground = { r: 255, g: 255, b: 255, a: 1 };
    let opacity = 1;
    for (const e of chain) {
      const style = getComputedStyle(e);
      opacity *= Number(style.opacity);
      const own = parse(style.backgroundColor);
      ground = over({ ...own, a: own.a * opacity }, ground);
    }
    const text = parse(getComputedStyle(element).color);
    return [over({ ...text, a: text.a * opacity }, ground), ground];
  };
  const isIcon = (e) => e.closest("[data-testid=stIconMaterial], svg, canvas");
  const isOff = (e) => e.closest(":disabled, [aria-disabled=true], [disabled]");
  const found = [];
  for (const element of document.querySelectorAll("[data-testid=stApp] *")) {
    const own = [...element.childNodes].filter((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own.length || isIcon(element) || isOff(element)) continue;
    if (["STYLE", "SCRIPT", "NOSCRIPT"].includes(element.tagName)) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const [text, ground] = seen(element);
    const value = ratio(text, ground);
    if (value < (isLarge ? 3 : 4.5))
      found.push(`${value.toFixed(2)}: ${own[0].textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(found)];
}
