"""What figures are drawn with: scales and ticks, SVG elements, marks, axes and legends. Pure functions, no library."""
