document.title = "tracker";
