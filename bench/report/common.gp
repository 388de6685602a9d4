# What all plots share. The caller sets: data, out, name, wd and ht (px). No text here comes from records: names are read
# from the data file, as columns.
reset
set encoding utf8
set datafile separator "\t"
set terminal svg size wd, ht font "sans-serif,12" name name noenhanced background "#ffffff" linewidth 1.2
set output out
set border lc rgb "#808080"
set tics textcolor rgb "black"
set grid lc rgb "#b0b0b0" lw 0.5 dt 3
set key textcolor rgb "black"
# Told apart by colour (also by colour-blind readers), by dash and by point: any one of them is enough.
colours = "#0072b2 #c44e00 #00805d #9a4f96 #9a7000 #6e6e6e"
colour(i) = word(colours, int(i) % 6 + 1)
dash(i) = int(word("1 2 4 5 3 7", int(i) % 6 + 1)) + 0
point(i) = int(word("7 4 9 12 6 1", int(i) % 6 + 1)) + 0
